#!/bin/sh
# The counter stands still.
sh "$(dirname "$0")/solve.sh"
sed -i "s/}, 1000);/}, 1e9);/" /app/index.html
