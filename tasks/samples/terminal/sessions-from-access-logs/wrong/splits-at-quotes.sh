#!/bin/sh
# The usual pattern: a quoted field ends at the first quote, so escaped quotes make good lines bad.
sed "s/^QUOTED = .*/QUOTED = r'\"([^\"]*)\"'/" "$(dirname "$0")/report.py" > /app/report && chmod 755 /app/report
