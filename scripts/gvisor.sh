#!/usr/bin/env bash
# Builds gVisor's runsc from the Go module proxy (scripts/gvisor/go.sum pins every source) and registers it with a local
# Docker engine. Where that cannot be done it says why and succeeds: gVisor is an extra layer, not a need.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

runsc=/usr/local/lib/envfarm/runsc # outside the checkout, as the engine's configuration names it
version=$(awk '$1 == "require" && $2 == "gvisor.dev/gvisor" { print $3 }' "$root/scripts/gvisor/go.mod")
go_version=$(awk '$1 == "go" { print $2 }' "$root/scripts/gvisor/go.mod")

skip() {
  say "gVisor: skipped, $*"
  exit 0
}

registered() { docker info -f '{{ json .Runtimes }}' | grep -q '"runsc"'; }

# go_: a Go of the version that go.mod asks for, from the path or from the module proxy.
go_() {
  local arch sum place name
  if command -v go >/dev/null && go version | grep -q " go${go_version%.*}\."; then
    GOTOOLCHAIN=local go "$@"
    return
  fi
  arch=$(uname -m)
  case $arch in
    x86_64) arch=amd64 sum=31905a748926ceb42bda1b1c490508b8734fb4e1492c6187b4d52ea1ba722b15 ;;
    aarch64) arch=arm64 sum=b7c1b9093336a1b4970eb76c02673ea4b62ec1470c05f62fb758046024c474b4 ;;
  esac
  name=v0.0.1-go$go_version.linux-$arch
  place=$cache/go/golang.org/toolchain@$name
  if [ ! -x "$place/bin/go" ]; then
    say "gVisor: fetching Go $go_version from the module proxy"
    command -v curl >/dev/null && command -v unzip >/dev/null || apt_install curl unzip ca-certificates
    curl -fsSLo "$cache/go.zip" "https://proxy.golang.org/golang.org/toolchain/@v/$name.zip"
    echo "$sum  $cache/go.zip" | sha256sum -c --quiet || die "Go's archive is not the one expected: remove $cache/go.zip and run again"
    unzip -q "$cache/go.zip" -d "$cache/go"
    rm "$cache/go.zip"
    chmod -R u+rx "$place/bin" "$place/pkg/tool"
  fi
  GOTOOLCHAIN=local "$place/bin/go" "$@"
}

build() {
  local started=$SECONDS
  need_disk "$cache" 4 "building gVisor"
  say "gVisor: building runsc (about a minute)"
  export CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOCACHE=$cache/go-build GOMODCACHE=$cache/go-mod
  cd "$root/scripts/gvisor"
  quietly gvisor.log go_ build -trimpath -ldflags "-s -w -X gvisor.dev/gvisor/runsc/version.version=$version" \
    -o "$cache/runsc" gvisor.dev/gvisor/runsc
  as_root install -D -m 755 "$cache/runsc" "$runsc"
  chmod -R u+w "$cache/go-mod" && rm -rf "$cache/go-mod" "$cache/go-build" "$cache/runsc" # 3 GB that nothing else needs
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
if ! registered; then
  case ${DOCKER_HOST:-unix://} in unix://*) ;; *) skip "the engine is not on this machine (DOCKER_HOST=$DOCKER_HOST)" ;; esac
  engine_pid >/dev/null || skip "the engine is not a dockerd of this machine"
  [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null || skip "it needs root, or sudo without a password"
  [ "$("$runsc" --version 2>/dev/null | awk 'NR == 1 { print $3 }')" = "$version" ] || build
  register
fi
if docker image inspect envfarm/busybox:1 >/dev/null 2>&1; then
  docker run --rm --runtime=runsc --network=none envfarm/busybox:1 true 2>"$cache/logs/gvisor-run.log" </dev/null ||
    skip "the engine has it but it cannot start a container here: $(tail -n 1 "$cache/logs/gvisor-run.log")"
fi
say "gVisor: ready (docker run --runtime=runsc)"
