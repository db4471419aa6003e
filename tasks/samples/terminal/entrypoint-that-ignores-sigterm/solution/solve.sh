#!/bin/bash
cat > /app/supervise <<'PY'
#!/usr/bin/python3 -I
"""Runs a command, forwards signals, and leaves nothing behind. A subreaper, so that every orphan becomes its child."""
import ctypes
import os
import signal
import sys
import time

HANDLED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD}
PR_SET_CHILD_SUBREAPER = 36

before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)  # from here on a signal waits until we ask for it
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
child = os.fork()
if child == 0:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as error:
        print(f"supervise: {sys.argv[1]}: {error.strerror}", file=sys.stderr)
        os._exit(127)

status, deadline = None, None


def reap():
    global status
    while True:
        try:
            pid, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        if pid == child:
            status = os.waitstatus_to_exitcode(ended)


def children():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(") ")[2].split()[1] == str(os.getpid()):
                    yield int(pid)
        except OSError:
            pass


while status is None:
    left = 3600 if deadline is None else max(0, deadline - time.monotonic())
    info = signal.sigtimedwait(HANDLED, left)
    number = info.si_signo if info else None
    reap()
    if status is not None:
        break
    if number in (signal.SIGTERM, signal.SIGINT) and deadline is None:
        deadline = time.monotonic() + float(os.environ.get("GRACE") or 10)
        os.kill(child, signal.SIGTERM)
    elif number in (signal.SIGTERM, signal.SIGINT) or (number is None and deadline is not None):
        os.kill(child, signal.SIGKILL)
    elif number in (signal.SIGHUP, signal.SIGUSR1):
        os.kill(child, number)

while reap():  # each one killed hands its own children to us
    for pid in children():
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.005)
sys.exit(status if status >= 0 else 128 - status)
PY
chmod 755 /app/supervise
