#!/bin/sh
# A question that is opened does not close the others.
sh "$(dirname "$0")/solve.sh"
sed -i "s/const shown = other === one \&\& open;/if (other !== one) continue; const shown = open;/" /app/index.html
