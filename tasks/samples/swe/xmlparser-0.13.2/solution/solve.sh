#!/bin/sh
# The reference fix.
set -e
fix="$(cd "$(dirname "$0")" && pwd)/fix.patch"
cd /testbed
git apply --whitespace=nowarn "$fix"
