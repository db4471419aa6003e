#!/bin/sh
# A card that is clicked twice is its own pair.
sh "$(dirname "$0")/solve.sh"
sed -i "s/if (busy || up.includes(at) || found/if (busy || found/" /app/index.html
