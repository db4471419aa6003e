#!/bin/sh
install -m 755 "$(dirname "$0")/toutf8.py" /app/toutf8
