"""Runs a task's checks as root and the agent's programs as nobody; writes the reward, 1 when all checks pass.

The same file lies in every sample task, so that each folder stands alone.
"""

import json
import os
import signal
import stat
import subprocess
import sys
import time
import traceback

ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}
CHECKS = []
NOBODY = 65534
PATIENCE = 6  # seconds after which the first failure is enough


def check(function):
    """Register a check; it fails by raising."""
    CHECKS.append(function)
    return function


def alone():
    """End whatever runs as nobody, so that nothing of the agent's is there while root works on files of nobody's."""
    while others():
        end = "import os, signal; os.kill(-1, signal.SIGKILL)"  # all at once, also those that left their session
        subprocess.run(
            [sys.executable, "-I", "-c", end], user="nobody", group="nogroup", extra_groups=[], stderr=subprocess.DEVNULL
        )
        time.sleep(0.01)


def others():
    """Whether a process of nobody's lives, whatever it made of itself."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/status") as file:
                status = dict(line.split(":", 1) for line in file if ":" in line)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(NOBODY) in status["Uid"].split() and status["State"].split()[0] not in "ZX":
            return True
    return False


def read(path):
    """A file of nobody's, which must be one: no link and no pipe to something else."""
    with os.fdopen(_opened(path, os.O_RDONLY), "rb") as file:
        return file.read()


def write(path, data, mode=None):
    """Put bytes into a file and give it to nobody."""
    descriptor = _opened(path, os.O_WRONLY | os.O_CREAT)
    with os.fdopen(descriptor, "wb") as file:
        os.ftruncate(descriptor, 0)
        file.write(data)
        file.flush()
        os.fchown(descriptor, NOBODY, NOBODY)
        if mode is not None:
            os.fchmod(descriptor, mode)


def _opened(path, flags):
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise AssertionError(f"{path} is no regular file")
    return descriptor


def run(argv, *, stdin=b"", cwd="/", timeout=10, env=None, user="nobody", group="nogroup", keep=False):
    """Run a program that is not trusted. Returns (exit code, stdout, stderr).

    Whatever it leaves behind is killed, and everything else of nobody's: `keep` keeps those for a check that needs them.
    """
    process = subprocess.Popen(
        argv, cwd=cwd, env=ENV | (env or {}), user=user, group=group, extra_groups=[], start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = process.communicate(stdin, timeout)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if user == "nobody" and not keep:
            alone()
    return process.returncode, out, err


def main():
    """Run every check and write /logs/verifier/reward.json."""
    parts = {}
    started = time.monotonic()
    for function in CHECKS:
        if 0.0 in parts.values() and time.monotonic() - started > PATIENCE:
            parts[function.__name__] = 0.0
            print(f"{function.__name__}: not tried any more", flush=True)
            continue
        try:
            function()
            parts[function.__name__] = 1.0
        except Exception:
            parts[function.__name__] = 0.0
            traceback.print_exc()
        print(f"{function.__name__}: {'ok' if parts[function.__name__] else 'FAILED'}", flush=True)
    alone()
    parts["reward"] = 1.0 if CHECKS and all(parts.values()) else 0.0
    os.makedirs("/logs/verifier", exist_ok=True)
    with open("/logs/verifier/reward.json", "w") as file:
        json.dump(parts, file)
    sys.exit(0)
