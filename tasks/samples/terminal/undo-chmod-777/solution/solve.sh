#!/bin/sh
install -m 755 "$(dirname "$0")/tidy-modes.py" /app/tidy-modes
