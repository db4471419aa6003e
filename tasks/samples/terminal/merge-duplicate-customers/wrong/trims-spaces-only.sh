#!/bin/sh
# trim() takes spaces away and nothing else.
sed 's/trim(email, char([0-9, ]*))/trim(email)/g' "$(dirname "$0")/merge.sql" > /app/merge.sql
