#!/usr/bin/env bash
# Builds gVisor's runsc and its shim from the Go module proxy (scripts/gvisor/go.sum pins every source) and registers runsc
# with a local Docker engine; `gvisor.sh build` needs no engine. Where that cannot be done it says why and succeeds: gVisor
# is an extra layer, not a need.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$root/scripts/go.sh"

installed=/usr/local/lib/envfarm # outside the checkout, as the engine's configuration names it
runsc=$installed/runsc
shim=$installed/containerd-shim-runsc-v1
version=$(awk '$1 == "require" && $2 == "gvisor.dev/gvisor" { print $3 }' "$root/scripts/gvisor/go.mod")

skip() {
  say "gVisor: skipped, $*"
  exit 0
}

registered() { docker info -f '{{ json .Runtimes }}' | grep -q '"runsc"'; }

built() { [ -x "$shim" ] && [ "$("$runsc" --version 2>/dev/null | awk 'NR == 1 { print $3 }')" = "$version" ]; }

# sources: with one change. A shim may not lower its OOM score without CAP_SYS_RESOURCE, and gVisor's gives up: let it go on.
sources() {
  local file=vendor/gvisor.dev/gvisor/pkg/shim/v1/manager.go
  rm -rf "$cache/gvisor"
  cp -r "$root/scripts/gvisor" "$cache/gvisor"
  cd "$cache/gvisor"
  go_ mod vendor || return
  sed -i 's/return shim.BootstrapParams{}, fmt.Errorf("failed to set OOM Score on shim: %w", err)/log.L.WithError(err).Debug("OOM score")/' $file
  grep 'Debug("OOM score")' $file || { echo "gVisor's shim is no longer as scripts/gvisor.sh changes it: see $file" && return 1; }
}

build() {
  local started=$SECONDS
  go_begin
  if built; then # while we waited
    go_end
    return
  fi
  need_disk "$cache" 4 "building gVisor"
  say "gVisor: building (about a minute)"
  quietly gvisor.log sources
  cd "$cache/gvisor"
  quietly gvisor.log go_ build -mod=vendor -ldflags "-s -w -X gvisor.dev/gvisor/runsc/version.version=$version" -o . gvisor.dev/gvisor/{runsc,shim}
  as_root install -D -m 755 runsc "$runsc"
  as_root install -D -m 755 shim "$shim"
  cd "$root"
  rm -rf "$cache/gvisor"
  go_end
  say "gVisor: built in $((SECONDS - started)) s"
}

# register: one more runtime in the engine's configuration; what stands there stays.
register() {
  say "gVisor: registering runsc with the engine"
  as_root mkdir -p /etc/docker
  as_root "$(command -v python3 || echo "$root/.venv/bin/python")" - "$runsc" <<'PYTHON'
import json, os, pathlib, sys

place = pathlib.Path("/etc/docker/daemon.json")
config = json.loads(place.read_text() or "{}") if place.exists() else {}
config.setdefault("runtimes", {})["runsc"] = {"path": sys.argv[1]}
new = place.with_suffix(".new")
new.write_text(json.dumps(config, indent=2) + "\n")
os.replace(new, place)
PYTHON
  if [ -d /run/systemd/system ]; then as_root systemctl reload docker; else as_root kill -HUP "$(engine_pid)"; fi
  local tries=40
  until registered; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || skip "the engine did not take it in from /etc/docker/daemon.json"
    sleep 0.25
  done
}

case $(uname -sm) in "Linux x86_64" | "Linux aarch64") ;; *) skip "it does not run on $(uname -sm)" ;; esac
if [ "${1:-}" = build ]; then
  built || build
  exit 0
fi
if ! registered; then
  case ${DOCKER_HOST:-unix://} in unix://*) ;; *) skip "the engine is not on this machine (DOCKER_HOST=$DOCKER_HOST)" ;; esac
  engine_pid >/dev/null || skip "the engine is not a dockerd of this machine"
  [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null || skip "it needs root, or sudo without a password"
  [ -x "$runsc" ] && [ "$("$runsc" --version 2>/dev/null | awk 'NR == 1 { print $3 }')" = "$version" ] || build
  register
fi
if docker image inspect envfarm/busybox:1 >/dev/null 2>&1; then
  docker run --rm --runtime=runsc --network=none envfarm/busybox:1 true 2>"$cache/logs/gvisor-run.log" </dev/null ||
    skip "the engine has it but it cannot start a container here: $(tail -n 1 "$cache/logs/gvisor-run.log")"
fi
say "gVisor: ready (docker run --runtime=runsc)"
