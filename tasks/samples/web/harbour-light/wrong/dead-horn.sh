#!/bin/sh
# The ship's horn goes on for ever.
sh "$(dirname "$0")/solve.sh"
sed -i 's/, 2000);/, 2000000);/' /app/index.html
