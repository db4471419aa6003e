#!/bin/sh
# There is no build.
sh "$(dirname "$0")/solve.sh"
sed -i "s/\"build\"/\"bundle\"/" /app/package.json
