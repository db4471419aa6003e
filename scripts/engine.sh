#!/usr/bin/env bash
# Finds a Docker engine, or installs and starts one. Nothing is restarted or changed where an engine answers.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

answers() { command -v docker >/dev/null && docker_ version >/dev/null 2>&1; }

# A killed engine leaves pid files that stop the next one, once the system has given their numbers to other processes.
forget_dead() {
  local file pid name
  for file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
    as_root test -e "$file" || continue
    pid=$(as_root cat "$file")
    name=$(cat "/proc/${pid:-none}/comm" 2>/dev/null || true)
    case $name in dockerd | containerd) ;; *) as_root rm -f "$file" ;; esac
  done
  pgrep -x dockerd >/dev/null || as_root rm -f /var/run/docker.sock
}

wait_for_answer() {
  local tries=${1:-120}
  until answers; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || return 1
    unset DOCKER_SUDO # asked again: the answer depends on the socket
    sleep 0.5
  done
}

if answers; then
  say "Docker engine: $(docker_ version --format '{{.Server.Version}}')"
  exit 0
fi
unset DOCKER_SUDO
[ -z "${DOCKER_HOST:-}" ] || die "DOCKER_HOST is $DOCKER_HOST and no engine answers there: start it, or unset DOCKER_HOST"

if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then
  need_disk /var/lib 1 "the Docker engine"
  apt_install docker.io iptables procps ca-certificates
  if wait_for_answer 6; then # the package may have started it
    say "Docker engine: $(docker_ version --format '{{.Server.Version}}')"
    exit 0
  fi
fi

say "starting the Docker engine"
log=$cache/logs/dockerd.log
if [ -d /run/systemd/system ]; then
  as_root systemctl start docker
elif pgrep -x dockerd >/dev/null; then
  say "one is starting already"
else
  forget_dead
  # In a session of its own and away from our streams, so that it outlives this run and holds no pipe open.
  as_root setsid sh -c 'exec dockerd >>"$1" 2>&1 </dev/null' dockerd "$log" >/dev/null 2>&1 </dev/null &
  disown
fi
wait_for_answer || {
  tail -n 15 "$log" >&2 2>/dev/null || true
  die "the Docker engine does not answer (its log: $log)"
}
say "Docker engine: $(docker_ version --format '{{.Server.Version}}')"
