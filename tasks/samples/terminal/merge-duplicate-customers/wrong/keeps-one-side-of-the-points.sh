#!/bin/sh
# UPDATE OR IGNORE gets over the unique constraints, and the points of one side are gone.
awk '
/^CREATE TEMP TABLE points/ { skip = 1 }
/^CREATE TEMP TABLE topics/ { skip = 0
    print "UPDATE OR IGNORE loyalty SET customer_id = (SELECT new FROM merged WHERE old = customer_id)"
    print "WHERE customer_id IN (SELECT old FROM merged WHERE old <> new);"
    print "DELETE FROM loyalty WHERE customer_id IN (SELECT old FROM merged WHERE old <> new);"
}
/DROP TABLE temp.points/ { next }
!skip' "$(dirname "$0")/merge.sql" > /app/merge.sql
