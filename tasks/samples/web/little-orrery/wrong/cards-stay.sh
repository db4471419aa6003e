#!/bin/sh
# A second click does not close a card.
sh "$(dirname "$0")/solve.sh"
sed -i "s/shown = shown === name ? \"\" : name;/shown = name;/" /app/index.html
