#!/bin/sh
# Eating is not counted.
sh "$(dirname "$0")/solve.sh"
sed -i "s/    score += 1;//" /app/index.html
