#!/bin/sh
# Twice encoded, once decoded.
sed 's/    while not line.isascii() and/    if not line.isascii() and/; s/            break/            pass/' \
    "$(dirname "$0")/toutf8.py" > /app/toutf8
chmod 755 /app/toutf8
