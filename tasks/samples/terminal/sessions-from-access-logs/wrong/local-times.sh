#!/bin/sh
# Takes the clock of each server for the same clock.
sed 's/datetime.strptime(match\[2\], "%d\/%b\/%Y:%H:%M:%S %z").timestamp()/datetime.strptime(match[2][:20] + " +0000", "%d\/%b\/%Y:%H:%M:%S %z").timestamp()/' \
    "$(dirname "$0")/report.py" > /app/report && chmod 755 /app/report
