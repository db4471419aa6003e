#!/usr/bin/env bash
# Makes a virtual environment for each trainer's client, as PyPI has it, in .cache/trainers; nothing to do the second time.
#   trainers.sh [NAME…]   all of them when none is named
set -euo pipefail
. "$(dirname "$0")/lib.sh"

declare -A requirements=(
  [mcp-1]="mcp==1.30.0"
  [mcp-2]="mcp==2.3.0"
  [openenv-0.10]="openenv==0.10.0"
  [openenv-0.3]="openenv-core==0.3.0"
  [openreward]="openreward==0.1.167"
)

make_one() {
  local name=$1 folder=$cache/trainers/$1 wanted=${requirements[$1]:-}
  [ -n "$wanted" ] || die "no trainer $name: there are ${!requirements[*]}"
  [ "$(cat "$folder/stamp" 2>/dev/null)" = "$wanted" ] && return
  say "installing $wanted into .cache/trainers/$name"
  quietly "trainer-$name.log" "$root/.venv/bin/python" -m venv --clear "$folder"
  # word splitting is meant: a trainer may need several packages
  quietly "trainer-$name.log" "$folder/bin/python" -m pip install --disable-pip-version-check $wanted
  printf '%s' "$wanted" >"$folder/stamp"
}

mkdir -p "$cache/trainers" "$cache/logs"
[ $# -gt 0 ] || set -- "${!requirements[@]}"
for name in "$@"; do make_one "$name"; done
