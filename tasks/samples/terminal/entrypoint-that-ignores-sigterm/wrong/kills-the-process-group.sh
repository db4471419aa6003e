#!/bin/bash
# Waits well and counts the grace, but whoever called setsid is in another group and lives on.
cat > /app/supervise <<'PY'
#!/usr/bin/python3
import os, signal, subprocess, sys, threading, time
signals = []
for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"):
    signal.signal(getattr(signal, name), lambda number, frame: signals.append(number))
try:
    process = subprocess.Popen(sys.argv[1:], process_group=0)
except OSError as error:
    print(error, file=sys.stderr)
    sys.exit(127)
deadline = None
while process.poll() is None:
    while signals:
        number = signals.pop(0)
        if number in (signal.SIGHUP, signal.SIGUSR1):
            process.send_signal(number)
        elif deadline is None:
            deadline = time.monotonic() + float(os.environ.get("GRACE") or 10)
            process.terminate()
        else:
            process.kill()
    if deadline and time.monotonic() > deadline:
        process.kill()
    time.sleep(0.01)
try:
    os.killpg(process.pid, signal.SIGKILL)
except ProcessLookupError:
    pass
status = process.returncode
sys.exit(status if status >= 0 else 128 - status)
PY
