#!/bin/sh
# The moon is still there by day.
sh "$(dirname "$0")/solve.sh"
sed -i 's/:is(.star, .moon, .beam)/:is(.star, .beam)/' /app/index.html
