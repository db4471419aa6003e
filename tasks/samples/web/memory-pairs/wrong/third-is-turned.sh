#!/bin/sh
# A third card can be turned while two that differ are seen.
sh "$(dirname "$0")/solve.sh"
sed -i "s/if (busy || up/if (up/; s/up.length === 2/up.length >= 2/; s/const \[a, b\] = up;/const [a, b] = up.slice(-2);/" /app/index.html
