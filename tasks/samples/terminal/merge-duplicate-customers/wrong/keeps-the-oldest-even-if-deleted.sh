#!/bin/sh
# The lowest id of all, although that customer was deleted.
sed 's/ORDER BY other.deleted <> 0, other.id/ORDER BY other.id/' "$(dirname "$0")/merge.sql" > /app/merge.sql
