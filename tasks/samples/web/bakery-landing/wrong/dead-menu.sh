#!/bin/sh
# The button of the menu does nothing.
sh "$(dirname "$0")/solve.sh"
sed -i "s/menu.onclick = .*//" /app/index.html
