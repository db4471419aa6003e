#!/usr/bin/env bash
# Finds a Docker engine, or installs and starts one. Nothing is restarted or changed where an engine answers.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

socket=/var/run/docker.sock
config=/etc/docker/daemon.json

answers() { command -v docker >/dev/null && docker version >/dev/null 2>&1; }

# Where only root may talk to the engine, its socket is opened to this user until the engine starts again: joining the
# group would need a new login.
open_to_me() {
  [ "$(id -u)" != 0 ] && [ -z "${DOCKER_HOST:-}" ] && [ -S $socket ] && [ ! -w $socket ] || return 1
  as_root docker version >/dev/null 2>&1 || return 1
  as_root chown "$(id -u)" $socket
  say "opened $socket to $(id -un), until the engine starts again"
}

# A killed engine leaves pid files that stop the next one, once the system has given their numbers to other processes.
forget_dead() {
  local file pid
  for file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
    as_root test -e "$file" || continue
    pid=$(as_root cat "$file")
    alive "$pid" dockerd || alive "$pid" containerd || as_root rm -f "$file"
  done
  engine_pid >/dev/null || as_root rm -f $socket
}

# wait_for_answer SECONDS: gives up early when the engine is no longer there, 5 seconds after its start.
wait_for_answer() {
  local started=$SECONDS
  until answers; do
    [ $((SECONDS - started)) -lt "$1" ] || return 1
    [ $((SECONDS - started)) -lt 5 ] || engine_pid >/dev/null || return 1
    open_to_me || sleep 0.5
  done
}

# Forks of live sandboxes need checkpoints, which this engine counts as experimental. Where there is no configuration yet
# it says so; what the user wrote stays, and then this prints the flag for an engine that we start ourselves.
experimental() {
  if as_root test -e $config; then
    as_root grep -q '"experimental"' $config || echo --experimental
  else
    as_root mkdir -p "$(dirname $config)"
    echo '{"experimental": true}' | as_root tee $config >/dev/null
  fi
}

ready() {
  say "Docker engine: $(docker version --format '{{.Server.Version}}')"
  exit 0
}

if answers; then ready; fi
if open_to_me && answers; then ready; fi
[ -z "${DOCKER_HOST:-}" ] || die "DOCKER_HOST is $DOCKER_HOST and no engine answers there: start it, or unset DOCKER_HOST"

flag=$(experimental)
if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then
  need_disk /var/lib 1 "the Docker engine"
  apt_install docker.io iptables ca-certificates
  if wait_for_answer 3; then ready; fi # the package may have started it
fi

say "starting the Docker engine"
log=$cache/logs/dockerd.log
if [ -d /run/systemd/system ]; then
  as_root systemctl start docker
elif engine_pid >/dev/null; then
  say "one is starting already"
else
  forget_dead
  # In a session of its own and away from our streams, so that it outlives this run and holds no pipe open.
  as_root setsid sh -c 'exec dockerd $2 >>"$1" 2>&1 </dev/null' dockerd "$log" "$flag" >/dev/null 2>&1 </dev/null &
  disown
fi
wait_for_answer 90 || {
  tail -n 15 "$log" >&2 2>/dev/null || true
  die "the Docker engine does not answer (its log: $log)"
}
ready
