#!/bin/sh
cp "$(dirname "$0")/merge.sql" /app/merge.sql
