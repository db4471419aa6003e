#!/usr/bin/env bash
# Runs an example with a farm of its own, which ends with it.
#   example.sh TRAINER SCRIPT [OPTIONS…]   TRAINER is a name of scripts/trainers.sh
set -euo pipefail
. "$(dirname "$0")/lib.sh"

[ $# -ge 2 ] || die "name a trainer and a script, as in: example.sh trl examples/grpo_terminal.py"
trainer=$1 script=$(realpath "$2")
shift 2
"$root/scripts/trainers.sh" "$trainer"
folder=$(mktemp -d)
ENVFARM_DATA=$folder ENVFARM_TOKENS='' "$root/.venv/bin/envfarm" serve --port 0 </dev/null >"$folder/log" 2>&1 &
farm=$!
finish() {
  kill "$farm" 2>/dev/null || true
  wait "$farm" 2>/dev/null || true
  rm -rf "$folder"
}
trap finish EXIT
while [ ! -e "$folder/server.json" ]; do
  kill -0 "$farm" 2>/dev/null || { tail -n 15 "$folder/log" >&2 && die "the farm did not start"; }
  sleep 0.2
done
url=$("$root/.venv/bin/python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["url"])' "$folder/server.json")
say "a farm serves at $url"
ENVFARM_URL=$url ENVFARM_TOKEN='' "$cache/trainers/$trainer/bin/python" "$script" "$@"
