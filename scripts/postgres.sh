#!/usr/bin/env bash
# Finds PostgreSQL's server programs, or installs them; the tests start servers of their own on private ports.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
command -v initdb >/dev/null && exit 0
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && exit 0
apt_install postgresql
