import os
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, "/tests")
from harness import ENV, alone, check, main, read, run, write  # noqa: E402

BUMP = "/app/bump"


def folder():
    place = tempfile.mkdtemp(prefix="counter with 'quotes' and $ ", dir="/tmp")
    os.chown(place, 65534, 65534)
    return place


def bump(path, timeout=20, keep=False, **env):
    code, out, err = run([BUMP, path], timeout=timeout, env=env, keep=keep)
    return code, out.decode().strip(), err


def crowd(paths):
    """Bumps in a process group of their own, all begun and none waited for."""
    first = None
    processes = []
    for path in paths:
        process = subprocess.Popen(
            [BUMP, path], env=ENV, user="nobody", group="nogroup", extra_groups=[], cwd="/", stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=first or 0,
        )  # fmt: skip
        first = first or process.pid
        processes.append(process)
    return processes


def numbers(processes):
    out = [process.communicate(timeout=30)[0] for process in processes]
    return sorted(int(text) for process, text in zip(processes, out, strict=True) if process.returncode == 0 and text)


def content(path):
    return read(path).decode()


@check
def counts():
    place = folder()
    path = f"{place}/build number"
    for number in (1, 2, 3):
        assert bump(path)[:2] == (0, str(number))
    assert content(path) == "3\n"
    others = [name for name in os.listdir(place) if name != "build number"]
    assert len(others) <= 1, others


@check
def no_number_is_given_out_twice():
    path = f"{folder()}/n"
    assert numbers(crowd([path] * 30)) == list(range(1, 31))
    assert content(path) == "30\n"


@check
def a_link_is_the_same_counter():
    place = folder()
    os.mkdir(f"{place}/elsewhere")
    os.chown(f"{place}/elsewhere", 65534, 65534)
    path, link = f"{place}/n", f"{place}/elsewhere/link"
    write(path, b"7\n")
    os.symlink("../n", link)
    assert numbers(crowd([path, link] * 12)) == list(range(8, 32))
    assert os.path.islink(link)
    assert content(path) == "31\n"


@check
def leading_zeros_are_no_octal():
    path = f"{folder()}/n"
    for text, number in (("0099\n", "100"), ("08", "9"), ("000\n", "1")):
        write(path, text.encode())
        assert bump(path)[:2] == (0, number), text
        assert content(path) == f"{number}\n"


@check
def other_files_are_left_alone():
    path = f"{folder()}/n"
    for text in ("twelve\n", "1 2\n", "a[$(touch /tmp/executed)]\n", "-3\n"):
        write(path, text.encode())
        code, out, err = bump(path)
        assert (code, out) == (65, ""), (text, code, out)
        assert err, text
        assert content(path) == text
    assert not os.path.exists("/tmp/executed")


@check
def the_killed_block_nobody():
    path = f"{folder()}/n"
    write(path, b"0\n")
    for attempt in range(5):
        processes = crowd([path] * 10)
        time.sleep(0.01 + 0.02 * attempt)
        os.killpg(processes[0].pid, signal.SIGKILL)
        given = numbers(processes)
        text = content(path)
        assert text.endswith("\n") and text.strip().isdigit(), repr(text)
        assert int(text) >= max(given, default=0)
        code, out, _ = bump(path, timeout=8, BUMP_WAIT="3")
        assert (code, out) == (0, str(int(text) + 1)), (code, out, text)


@check
def a_hanging_holder_is_given_up():
    path = f"{folder()}/n"
    for _ in range(2):
        processes = crowd([path] * 10)
        time.sleep(0.03)
        os.killpg(processes[0].pid, signal.SIGSTOP)
        time.sleep(0.05)
        try:
            before = content(path) if os.path.exists(path) else ""
            started = time.monotonic()
            code, out, _ = bump(path, timeout=8, keep=True, BUMP_WAIT="1")
            took = time.monotonic() - started
            if code:
                assert (code, out) == (75, ""), (code, out)
                assert took > 0.5, "it did not wait for its turn"
                assert (content(path) if os.path.exists(path) else "") == before
        finally:
            os.killpg(processes[0].pid, signal.SIGCONT)
        numbers(processes)
        alone()
    last = int(content(path))
    assert bump(path)[:2] == (0, str(last + 1))


main()
