#!/bin/sh
# The server answers, and keeps nothing.
sh "$(dirname "$0")/solve.sh"
sed -i "s/  claims.unshift(claim);//" /app/server.js
