#!/bin/sh
# Any number of seats can be chosen.
sh "$(dirname "$0")/solve.sh"
sed -i "s/chosen.size === 6/chosen.size === 40/" /app/index.html
