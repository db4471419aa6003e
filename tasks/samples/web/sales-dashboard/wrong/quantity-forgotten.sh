#!/bin/sh
# The revenue adds prices and not quantity times price.
sh "$(dirname "$0")/solve.sh"
sed -i "s/Total: quantity \\* price/Total: +price/" /app/index.html
