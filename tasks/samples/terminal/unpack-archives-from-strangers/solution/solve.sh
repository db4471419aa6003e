#!/bin/sh
install -m 755 "$(dirname "$0")/unpack.py" /app/unpack
