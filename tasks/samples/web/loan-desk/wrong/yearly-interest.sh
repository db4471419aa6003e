#!/bin/sh
# The interest of a year is taken for twelve times that of a month, compounded wrongly.
sh "$(dirname "$0")/solve.sh"
sed -i "s/value(\"interest\") \/ 1200/value(\"interest\") \/ 1000/" /app/index.html
