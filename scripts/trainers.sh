#!/usr/bin/env bash
# Makes a virtual environment for each trainer and client, as PyPI has it, in .cache/trainers; nothing to do the second time.
#   trainers.sh [NAME…]   all but the large ones when none is named
# `envfarm` is this checkout's client, installed together with the trainer: so their requirements fit.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

declare -A requirements=(
  [mcp-1]="mcp==1.30.0" # sessions
  [mcp-2]="mcp==2.3.0"  # asks first whether it can do without
  [openreward]="openreward==0.1.167 datasets==5.2.0" # and TRL's spec for it
  [mini-swe-agent]="mini-swe-agent==2.4.6 envfarm"
  [inspect-ai]="inspect-ai==0.3.285 envfarm pytest==9.2.0"
  [verifiers]="verifiers==0.4.0 envfarm uv==0.13.8" # it runs its chat loop by uv
  [skyrl-gym]="skyrl-gym==0.4.0 envfarm"
  [trl]="trl==1.16.0 envfarm torch==2.15.0 jmespath==1.1.0"
)

declare -A alone=( # without what they ask for: a part of theirs that does without torch
  [openreward]="trl==1.16.0"
)

large="trl" # over a gigabyte; for `make test-trainers`

make_one() {
  local name=$1 folder=$cache/trainers/$1 wanted=${requirements[$1]:-} bare=${alone[$1]:-} stamp clear=--clear
  [ -n "$wanted" ] || die "no client $name: there are ${!requirements[*]}"
  stamp="$wanted${bare:+ $bare}"
  [[ " $wanted " != *" envfarm "* ]] || stamp+=" $(sed "/^.tool.pytest/,$ d" "$root/pyproject.toml" | cksum) $root"
  [ "$(cat "$folder/stamp" 2>/dev/null)" != "$stamp" ] || return 0
  [[ "$(cat "$folder/stamp" 2>/dev/null)" != "$wanted "* ]] || clear= # only envfarm's own changed
  say "installing $wanted into .cache/trainers/$name"
  quietly "trainer-$name.log" "$root/.venv/bin/python" -m venv $clear "$folder"
  # shellcheck disable=SC2086 # words
  quietly "trainer-$name.log" "$folder/bin/python" -m pip install --disable-pip-version-check ${wanted/ envfarm/ --editable $root}
  [ -z "$bare" ] || quietly "trainer-$name.log" "$folder/bin/python" -m pip install --disable-pip-version-check --no-deps "$bare"
  printf '%s' "$stamp" >"$folder/stamp"
}

mkdir -p "$cache/trainers"
if [ $# = 0 ]; then for name in "${!requirements[@]}"; do [[ " $large " = *" $name "* ]] || set -- "$@" "$name"; done; fi
for name in "$@"; do
  exec 9>"$cache/trainers/$name.lock"
  flock 9 # tests that run beside each other make it once
  make_one "$name"
done
