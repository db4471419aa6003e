#!/bin/sh
# All seats cost the same.
sh "$(dirname "$0")/solve.sh"
sed -i "s/name\[0\] === \"E\" ? 14 : 11/11/" /app/index.html
