"""Runs a task's checks as root and the agent's programs as nobody; writes the reward, 1 when all checks pass.

The same file lies in every sample task, so that each folder stands alone.
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback

ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}
CHECKS = []
PATIENCE = 6  # seconds after which the first failure is enough


def check(function):
    """Register a check; it fails by raising."""
    CHECKS.append(function)
    return function


def run(argv, *, stdin=b"", cwd="/", timeout=10, env=None, user="nobody", group="nogroup"):
    """Run a program that is not trusted. Whatever it leaves behind is killed. Returns (exit code, stdout, stderr)."""
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
    parts["reward"] = 1.0 if CHECKS and all(parts.values()) else 0.0
    os.makedirs("/logs/verifier", exist_ok=True)
    with open("/logs/verifier/reward.json", "w") as file:
        json.dump(parts, file)
    sys.exit(0)
