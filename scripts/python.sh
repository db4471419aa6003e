#!/usr/bin/env bash
# Makes .venv with envfarm and its development tools in it; nothing to do while pyproject.toml is as it was.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
venv=$root/.venv

fits() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  local name
  for name in ${PYTHON:-} python3.13 python3.12 python3.11 python3 python3.14; do
    if command -v "$name" >/dev/null && fits "$name"; then
      command -v "$name"
      return
    fi
  done
  return 1
}

stamp=$(cat "$root/pyproject.toml" "$root/scripts/python.sh" | sha256sum | cut -c1-16)
if [ "$(cat "$venv/envfarm-stamp" 2>/dev/null)" = "$stamp:$root" ] && "$venv/bin/python" -c 'import envfarm' 2>/dev/null; then
  exit 0
fi
python=$(find_python) || {
  apt_install python3 python3-venv ca-certificates
  python=$(find_python) || die "no Python 3.11 or newer: install one and name it with PYTHON=/path/to/python"
}
need_disk "$root" 1 "the Python environment"
say "installing envfarm into .venv with $("$python" --version): a minute or so (log: $cache/logs/pip.log)"
[ -x "$venv/bin/python" ] && fits "$venv/bin/python" && grep -q "$venv" "$venv/bin/activate" || quietly venv.log "$python" -m venv --clear "$venv"
quietly pip.log "$venv/bin/python" -m pip install --disable-pip-version-check --editable "$root[dev]"
printf '%s' "$stamp:$root" >"$venv/envfarm-stamp"
