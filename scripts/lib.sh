# What the scripts share. Sourced, after `set -euo pipefail`; not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache # everything that is made outside Docker; `make clean` empties it
mkdir -p "$cache/logs"

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

die() {
  printf '\033[31merror:\033[0m %s\n' "$*" >&2
  exit 1
}
# Colour only for people.
if [ ! -t 2 ] || [ -n "${NO_COLOR:-}" ]; then
  say() { printf '==> %s\n' "$*" >&2; }
  die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
  }
fi

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "needs root for: $* (run as root, or install sudo)"
  fi
}

# alive PID PROGRAM: whether that process runs that program; one that was killed and not yet waited for does not.
alive() { [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ] && [ -n "$(tr -d '\0' 2>/dev/null <"/proc/$1/cmdline")" ]; }

# engine_pid: the process id of this machine's dockerd, if it runs (a container may have a dockerd of its own).
engine_pid() {
  local pid
  pid=$(cat /var/run/docker.pid 2>/dev/null) && alive "$pid" dockerd && echo "$pid"
}

# apt_install PACKAGE…: quiet when it goes well; the log's end when it does not.
apt_install() {
  command -v apt-get >/dev/null || die "this system has no apt-get: install $* by hand"
  say "installing $*"
  local log=$cache/logs/apt.log
  local apt=(apt-get -o DPkg::Lock::Timeout=300 -qq)
  as_root env DEBIAN_FRONTEND=noninteractive "${apt[@]}" update </dev/null >>"$log" 2>&1 || true # a stale third-party source is no reason to stop
  as_root env DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "$@" </dev/null >>"$log" 2>&1 || {
    tail -n 15 "$log" >&2
    die "could not install $* (whole log: $log)"
  }
}

# quietly LOG COMMAND…: runs it into a log, tells now and then how far that is, and shows its end only when it fails.
quietly() {
  local log=$cache/logs/$1 ticker status=0
  shift
  while sleep 15 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do say "  … $(tail -n 1 "$log" | cut -c 1-100)"; done &
  ticker=$!
  "$@" </dev/null >"$log" 2>&1 || status=$?
  kill "$ticker" 2>/dev/null || true
  if [ "$status" != 0 ]; then
    tail -n 25 "$log" >&2
    die "failed: $* (whole log: $log)"
  fi
}

# need_disk FOLDER GIGABYTES WHAT: stops early rather than half-way.
need_disk() {
  local folder=$1 free
  while [ ! -e "$folder" ]; do folder=$(dirname "$folder"); done
  free=$(($(df -Pk "$folder" | awk 'NR == 2 { print $4 }') / 1048576))
  [ "$free" -ge "$2" ] || die "$3 needs $2 GB free on $folder and there are $free: free $(($2 - free)) GB and run again"
}
