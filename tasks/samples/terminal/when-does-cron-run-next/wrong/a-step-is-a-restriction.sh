#!/bin/sh
# Takes only a bare star for "not restricted", as the manual page seems to say.
sed 's/not words\[2\].startswith("\*") and not words\[4\].startswith("\*")/words[2] != "*" and words[4] != "*"/' \
    "$(dirname "$0")/nextrun.py" > /app/nextrun && chmod 755 /app/nextrun
