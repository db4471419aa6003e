#!/bin/sh
# A page in which one of the words occurs is found.
sh "$(dirname "$0")/solve.sh"
sed -i "s/wanted and all(word/wanted and any(word/; s/if wanted\[0\] in line.lower()/if any(word in line.lower() for word in wanted)/" /app/server.py; echo "# Cellar

A kiln of old." > /app/assets/cellar.md
