#!/bin/sh
# 2100 is no leap year: between two 29 Februaries there can be eight years.
sed 's/366 \* 9/366 * 5/' "$(dirname "$0")/nextrun.py" > /app/nextrun && chmod 755 /app/nextrun
