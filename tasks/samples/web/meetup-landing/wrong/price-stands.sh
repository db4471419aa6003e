#!/bin/sh
# The total does not follow the number of seats.
sh "$(dirname "$0")/solve.sh"
sed -i "s/^form.seats.oninput.*//" /app/index.html
