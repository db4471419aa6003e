#!/bin/sh
# A title leads nowhere.
sh "$(dirname "$0")/solve.sh"
sed -i "s/addEventListener(.hashchange., route);//" /app/index.html
