#!/bin/sh
# Latin-1 never fails, and turns euro signs and curly quotes into control characters.
sed 's/bytes(\[byte\]).decode("cp1252", "ignore") or chr(byte)/chr(byte)/' "$(dirname "$0")/toutf8.py" > /app/toutf8
chmod 755 /app/toutf8
