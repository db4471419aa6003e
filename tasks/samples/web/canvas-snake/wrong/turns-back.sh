#!/bin/sh
# A turn straight back is taken, and ends the game.
sh "$(dirname "$0")/solve.sh"
sed -i "s/if (turn\[0\] !== -last\[0\] || turn\[1\] !== -last\[1\]) turns/turns/" /app/index.html
