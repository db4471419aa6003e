#!/bin/sh
# Right as long as nothing goes wrong.
sed '/^BEGIN IMMEDIATE;/d; /^COMMIT;/d' "$(dirname "$0")/merge.sql" > /app/merge.sql
