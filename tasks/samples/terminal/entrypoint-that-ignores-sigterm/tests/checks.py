import os
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, "/tests")
from harness import ENV, check, main  # noqa: E402

WORK = tempfile.mkdtemp(prefix="work-", dir="/tmp")
os.chown(WORK, 65534, 65534)
os.chmod(WORK, 0o755)


def write(name, text):
    with open(f"{WORK}/{name}", "w") as file:
        file.write(text)
    os.chmod(f"{WORK}/{name}", 0o755)
    return f"{WORK}/{name}"


WORKER = write("worker", """#!/usr/bin/python3 -I
import signal, sys, time
seen = []
for name in ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGINT"):
    signal.signal(getattr(signal, name), lambda number, frame: seen.append(signal.Signals(number).name))
ready, finish, status = sys.argv[1:4]
open(ready, "w").close()
while "SIGTERM" not in seen:
    time.sleep(0.01)
time.sleep(float(finish))
print(",".join(seen), flush=True)
sys.exit(int(status))
""")  # fmt: skip


class Supervised:
    """One run of /app/supervise as nobody; whatever it leaves behind is found by its mark in the environment."""

    def __init__(self, *argv, stdin=b"", wait_for=None, **env):
        self.mark = f"mark-{os.urandom(8).hex()}"
        self.process = subprocess.Popen(
            ["/app/supervise", *argv], env=ENV | {"MARK": self.mark} | env, cwd=WORK, user="nobody", group="nogroup",
            extra_groups=[], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self.stdin = stdin
        deadline = time.monotonic() + 5
        while wait_for and not os.path.exists(wait_for):
            assert time.monotonic() < deadline, "the command was not started"
            time.sleep(0.01)

    def send(self, number):
        self.process.send_signal(number)

    def end(self, timeout=5):
        """Wait for the supervisor itself: a child that keeps stdout open must not hold us up. Returns (status, output)."""
        try:
            if self.stdin:
                self.process.stdin.write(self.stdin)
            self.process.stdin.close()
            status = self.process.wait(timeout)
            left = self.left()
            assert not left, f"still there: {left}"
            return status, self.process.stdout.read().decode()
        finally:
            for pid in self.left():
                os.kill(pid, signal.SIGKILL)
            self.process.wait()

    def left(self):
        # Root of this machine may lack the right to read another user's environment: nobody reads its own.
        command = f"grep -lszx MARK={self.mark} /proc/[0-9]*/environ"
        found = subprocess.run(
            ["/bin/sh", "-c", command], user="nobody", group="nogroup", extra_groups=[], capture_output=True, text=True
        )  # fmt: skip
        return [int(path.split("/")[2]) for path in found.stdout.split()]


def owner_of(pid):
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except FileNotFoundError:
        return None


def name(what):
    return f"{WORK}/{what}-{os.urandom(4).hex()}"


@check
def passes_everything_through():
    script = 'printf "%s|" "$@" "$WORD" "$PWD"; cat; exit 7'
    run = Supervised("sh", "-c", script, "x", "a b", "", "*", stdin=b"hello\nworld", WORD="sp ace")
    assert run.end() == (7, f"a b||*|sp ace|{WORK}|hello\nworld")
    assert Supervised("sh", "-c", "kill -SEGV $$").end()[0] == 139
    assert Supervised(f"{WORK}/no such command").end()[0] == 127
    assert Supervised("true").end() == (0, "")


@check
def lets_the_work_in_hand_finish():
    for number in (signal.SIGTERM, signal.SIGINT):
        ready = name("ready")
        run = Supervised(WORKER, ready, "0.5", "3", wait_for=ready)
        run.send(number)
        assert run.end() == (3, "SIGTERM\n")


@check
def kills_after_the_grace():
    ready = name("ready")
    run = Supervised(WORKER, ready, "30", "0", wait_for=ready, GRACE="0.4")
    started = time.monotonic()
    run.send(signal.SIGTERM)
    assert run.end()[0] == 137
    assert 0.3 < time.monotonic() - started < 4


@check
def kills_at_the_second_signal():
    ready = name("ready")
    run = Supervised(WORKER, ready, "30", "0", wait_for=ready, GRACE="20")
    run.send(signal.SIGTERM)
    time.sleep(0.2)
    assert run.process.poll() is None
    run.send(signal.SIGINT)
    assert run.end(5)[0] == 137


@check
def hands_other_signals_on():
    ready = name("ready")
    run = Supervised(WORKER, ready, "0", "0", wait_for=ready)
    run.send(signal.SIGHUP)
    time.sleep(0.15)
    run.send(signal.SIGUSR1)
    time.sleep(0.15)
    assert run.process.poll() is None
    run.send(signal.SIGTERM)
    assert run.end() == (0, "SIGHUP,SIGUSR1,SIGTERM\n")


@check
def leaves_nothing_behind():
    ready = name("ready")
    script = f"""
        sleep 300 &
        setsid sleep 301 &
        (setsid sh -c 'trap "" TERM HUP; sleep 302 & sleep 303' &)
        /usr/bin/python3 -I -c 'import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(304)
    os._exit(0)
os.wait()'
        sleep 0.2; exec "$@"
    """
    assert Supervised("sh", "-c", script, "x", "sh", "-c", "exit 5").end()[0] == 5
    run = Supervised("sh", "-c", script, "x", WORKER, ready, "0", "6", wait_for=ready)
    run.send(signal.SIGTERM)
    assert run.end()[0] == 6


def zombies():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                state, parent = file.read().rpartition(") ")[2].split()[:2]
        except OSError:
            continue
        if state == "Z" and int(parent) != os.getpid() and owner_of(pid) == 65534:
            found.append(pid)
    return found


@check
def reaps_orphans():
    ready = name("ready")
    run = Supervised("sh", "-c", f"for i in 1 2 3 4; do (sleep 0.05 &) ; done; sleep 0.6; touch {ready}; exec sleep 9", wait_for=ready)
    for _ in range(30):  # any process is a zombie for a moment
        if not (left := zombies()):
            break
        time.sleep(0.1)
    run.send(signal.SIGTERM)
    run.end()
    assert not left, left


@check
def an_early_signal_is_not_lost():
    for attempt in range(6):
        run = Supervised("sleep", "20", GRACE="2")
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:  # as soon as it is no longer this program's fork, but before it did much
            with open(f"/proc/{run.process.pid}/cmdline", "rb") as file:
                if b"supervise" in file.read():
                    break
        time.sleep(0.05 + 0.03 * attempt)
        run.send(signal.SIGTERM)
        assert run.end(5)[0] in (143, -15)


main()
