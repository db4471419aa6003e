#!/bin/sh
# Fill leaks through corners.
sh "$(dirname "$0")/solve.sh"
sed -i 's/at - SIZE, at + SIZE\]/at - SIZE, at + SIZE, at % SIZE < SIZE - 1 \&\& at + SIZE + 1]/' /app/src/pad.js
