#!/bin/sh
install -m 755 "$(dirname "$0")/nextrun.py" /app/nextrun
