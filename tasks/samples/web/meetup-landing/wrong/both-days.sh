#!/bin/sh
# Both days are shown at once.
sh "$(dirname "$0")/solve.sh"
sed -i "s/\.hidden = one !== tab;/.hidden = false;/" /app/index.html
