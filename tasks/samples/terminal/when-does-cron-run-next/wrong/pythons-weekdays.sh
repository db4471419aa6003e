#!/bin/sh
# Python's Monday is 0, cron's Sunday is.
sed 's/(day.weekday() + 1) % 7 in/day.weekday() in/' "$(dirname "$0")/nextrun.py" > /app/nextrun && chmod 755 /app/nextrun
