#!/bin/sh
# FF FE 00 00 is a mark of UTF-32, and looks like one of UTF-16 and a NUL.
sed 's/    for mark, name in MARKS:/    for mark, name in MARKS[::-1]:/' "$(dirname "$0")/toutf8.py" > /app/toutf8
chmod 755 /app/toutf8
