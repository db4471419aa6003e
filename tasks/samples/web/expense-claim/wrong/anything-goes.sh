#!/bin/sh
# Expenses are not checked before they are sent.
sh "$(dirname "$0")/solve.sh"
sed -i "s/  if (bad >= 0) return.*//" /app/page.html
