#!/bin/sh
# Undoes the double encoding for the file as a whole: one honest line keeps all the others broken.
sed 's/"\\n".join(repair(line) for line in text.split("\\n"))/repair(text)/' "$(dirname "$0")/toutf8.py" > /app/toutf8
chmod 755 /app/toutf8
