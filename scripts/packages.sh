#!/usr/bin/env bash
# Installs the system packages that the tests use and this machine lacks: PostgreSQL's server programs (the tests start
# servers of their own on private ports), and what README's commands call.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
missing=()
command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
for program in curl git jq; do command -v "$program" >/dev/null || missing+=("$program"); done
[ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"
