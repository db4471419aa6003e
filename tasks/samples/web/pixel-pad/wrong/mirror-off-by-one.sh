#!/bin/sh
# The mirror stands one column beside.
sh "$(dirname "$0")/solve.sh"
sed -i 's/SIZE - 1 - at % SIZE;/SIZE - at % SIZE;/' /app/src/pad.js
