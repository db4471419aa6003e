#!/bin/sh
# Reads the two day fields like all the others: every field has to fit. Nearly everybody believes that.
sed 's/in_month or in_week if either else in_month and in_week/in_month and in_week/' \
    "$(dirname "$0")/nextrun.py" > /app/nextrun && chmod 755 /app/nextrun
