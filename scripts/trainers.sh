#!/usr/bin/env bash
# Makes a virtual environment for each client of a dialect, as PyPI has it, in .cache/trainers; nothing to do the second time.
#   trainers.sh [NAME…]   all of them when none is named
set -euo pipefail
. "$(dirname "$0")/lib.sh"

declare -A requirements=(
  [mcp-1]="mcp==1.30.0" # sessions
  [mcp-2]="mcp==2.3.0"  # asks first whether it can do without
  [openreward]="openreward==0.1.167"
)

make_one() {
  local name=$1 folder=$cache/trainers/$1 wanted=${requirements[$1]:-}
  [ -n "$wanted" ] || die "no client $name: there are ${!requirements[*]}"
  [ "$(cat "$folder/stamp" 2>/dev/null)" != "$wanted" ] || return 0
  say "installing $wanted into .cache/trainers/$name"
  quietly "trainer-$name.log" "$root/.venv/bin/python" -m venv --clear "$folder"
  quietly "trainer-$name.log" "$folder/bin/python" -m pip install --disable-pip-version-check "$wanted"
  printf '%s' "$wanted" >"$folder/stamp"
}

mkdir -p "$cache/trainers"
[ $# -gt 0 ] || set -- "${!requirements[@]}"
exec 9>"$cache/trainers/lock"
flock 9 # tests that run beside each other make it once
for name in "$@"; do make_one "$name"; done
