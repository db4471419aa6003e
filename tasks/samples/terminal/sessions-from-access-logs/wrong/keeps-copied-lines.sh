#!/bin/sh
# Adds the files up, copies and all.
sed 's/counts |= read(path)/counts += read(path)/' "$(dirname "$0")/report.py" > /app/report && chmod 755 /app/report
