#!/bin/sh
# The search minds the case.
sh "$(dirname "$0")/solve.sh"
sed -i "s/sought.trim().toLowerCase()/sought.trim()/; s/note.text.join(\" \")).toLowerCase()/note.text.join(\" \"))/" /app/index.html
