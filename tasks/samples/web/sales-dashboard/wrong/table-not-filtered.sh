#!/bin/sh
# The table shows all orders, whichever region is chosen.
sh "$(dirname "$0")/solve.sh"
sed -i "s/replaceChildren(...chosen.map/replaceChildren(...[...orders].sort((a, b) => (a[column] < b[column] ? -1 : a[column] > b[column] ? 1 : 0) * (down ? -1 : 1)).map/" /app/index.html
