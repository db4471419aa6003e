#!/usr/bin/env bash
# One node that is a whole cluster: starts, kills and removes its programs. Root runs it, for scripts/cluster.sh.
# It copes with what a kill or a reboot left: what is dead starts again, and where nothing lives it begins anew.
set -euo pipefail
. "$(dirname "$0")/../lib.sh"
. "$root/scripts/cluster/settings.sh"
. "$root/scripts/cluster/config.sh"
PATH=$PATH:/usr/sbin:/sbin

kubectl_() { "$bin/kubectl" --kubeconfig "$state/admin.conf" "$@"; }

pid_of() {
  local pid name=${program_of[$1]}
  pid=$(cat "$state/$1.pid" 2>/dev/null) && alive "$pid" "${name:0:15}" && echo "$pid" # the kernel keeps 15 bytes
}

# start PROGRAM: in a session of its own and away from our streams, so that it outlives this run and holds no lock.
start() {
  pid_of "$1" >/dev/null && return
  command_of "$1"
  PATH=$bin:$installed:$PATH setsid sh -c 'ulimit -n "$(ulimit -Hn)"; echo $$ >"$1.new"; mv "$1.new" "$1"; shift; exec "$@"' sh \
    "$state/$1.pid" "${command[@]}" >>"$state/logs/$1.log" 2>&1 </dev/null 9>&- &
  disown
}

# kill_ PROGRAM: without warning, as faults come.
kill_() {
  local pid
  pid=$(pid_of "$1") || return 0
  kill -9 "$pid"
  while [ -d "/proc/$pid" ] && pid_of "$1" >/dev/null; do sleep 0.05; done
}

works() {
  case $1 in
    etcd) (: <"/dev/tcp/$address/2379") ;;
    registry) (: <"/dev/tcp/127.0.0.1/${registry#*:}") ;;
    containerd) "$bin/ctr" -a "$run/containerd.sock" --connect-timeout 2s version ;;
    apiserver) kubectl_ --request-timeout 5s get --raw /readyz ;;
    kubelet) kubectl_ --request-timeout 5s wait --for condition=Ready "node/$node" --timeout 1s && kubelet_serves ;;
    dns) (: <"/dev/tcp/$address/1053") ;;
    *) pid_of "$1" ;;
  esac >/dev/null 2>&1
}

# kubelet_serves: a node stays Ready for a while after its kubelet died.
kubelet_serves() { (: <"/dev/tcp/$address/10250"); }

wait_for() {
  local tries=400
  until works "$1"; do
    tries=$((tries - 1))
    if [ "$tries" -le 0 ] || { [ "$tries" -lt 390 ] && ! pid_of "$1" >/dev/null; }; then
      tail -n 15 "$state/logs/$1.log" >&2
      die "the cluster's $1 does not work (whole log: $state/logs/$1.log)"
    fi
    sleep 0.15
  done
}

# network: the bridge that pods stand on is there before they are, for its address is the node's: it needs no other network,
# stays when that changes, and what the cluster serves is seen from this machine alone.
network() {
  modprobe -q br_netfilter 2>/dev/null || true # may be built in
  ip link show "$bridge" >/dev/null 2>&1 || ip link add "$bridge" address 02:65:6e:76:66:01 type bridge
  ip address replace "$address/16" dev "$bridge"
  ip link set "$bridge" up
  sysctl -qw net.ipv4.ip_forward=1
  sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
  local mark=(-m comment --comment envfarm-cluster) way
  for way in -s -d; do # Docker's FORWARD policy is DROP
    iptables -w -C FORWARD $way "$pods" "${mark[@]}" -j ACCEPT 2>/dev/null || iptables -w -I FORWARD $way "$pods" "${mark[@]}" -j ACCEPT
  done
  iptables -w -t nat -C POSTROUTING -s "$pods" ! -d "$pods" "${mark[@]}" -j MASQUERADE 2>/dev/null ||
    iptables -w -t nat -A POSTROUTING -s "$pods" ! -d "$pods" "${mark[@]}" -j MASQUERADE
}

# cgroups: pods stand below a group of their own, so that none is missed when the cluster ends.
cgroups() {
  local folder
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    sed 's/[^ ]*/+&/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
    mkdir -p "/sys/fs/cgroup/$group"
  else
    for folder in /sys/fs/cgroup/*/; do [ ! -e "$folder/tasks" ] || mkdir -p "$folder$group"; done
  fi
}

pause_image() {
  local folder=$state/pause
  mkdir -p "$folder"
  tar -C "$bin" --dereference --owner 0 --group 0 --mtime @0 -cf "$folder/layer.tar" pause
  printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":["/pause"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')" "$(sha256sum <"$folder/layer.tar" | cut -d ' ' -f 1)" >"$folder/config.json"
  printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$pause" >"$folder/manifest.json"
  tar -C "$folder" -c manifest.json config.json layer.tar | "$bin/ctr" -a "$run/containerd.sock" -n k8s.io images import --local - >>"$state/logs/containerd.log" 2>&1
}

# alone: addresses, bridge and packet filter are one for the machine, so a second cluster's end would be the first one's.
alone() {
  local file other
  for file in /run/envfarm/*/state; do
    other=$(cat "$file" 2>/dev/null) || continue
    [ "$other" = "$state" ] || ! (state=$other && pid_of kubelet >/dev/null) ||
      die "a disposable cluster of $other runs on this machine already: set CLUSTER_STATE=$other"
  done
}

# kubelet_listens: on any address. Rules in the packet filter prove no living node: they outlive the file system they were
# made from, in a container or a chroot that is thrown away.
kubelet_listens() { cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$2 ~ /:280A$/ && $4 == "0A" { n++ } END { exit !n }'; }

dead() { ! pid_of etcd >/dev/null && ! pid_of apiserver >/dev/null && ! pid_of containerd >/dev/null; }

up() {
  local name
  if ! pid_of kubelet >/dev/null && kubelet_listens; then
    die "a kubelet that is not ours serves on this machine (port 10250), so it is a node of some cluster already: set KUBECONFIG to use that"
  fi
  if dead; then
    wipe
    say "cluster: starting"
    configure
  fi
  cgroups
  network
  for name in etcd registry containerd; do start "$name"; done
  wait_for etcd
  start apiserver
  wait_for containerd
  pause_image
  wait_for apiserver
  for name in "${programs[@]}"; do start "$name"; done
  { registry_manifest; runtime_manifests; dns_manifests; } | kubectl_ apply -f - >/dev/null
  until kubectl_ get serviceaccount default >/dev/null 2>&1; do sleep 0.1; done
  for name in "${programs[@]}"; do wait_for "$name"; done
  date >"$state/complete"
}

# forget_rules: what kube-proxy, kubelet and network() told the kernel's packet filter.
forget_rules() {
  local tool table rules chains
  for tool in iptables ip6tables; do
    for table in nat filter mangle; do
      rules=$($tool -w -t "$table" -S 2>/dev/null) || continue
      chains=$(sed -n 's/^-N \(KUBE-.*\)/\1/p' <<<"$rules")
      {
        echo "*$table"
        sed -n '/^-A KUBE-/d; /-j KUBE-\|envfarm-cluster/s/^-A/-D/p' <<<"$rules"
        [ -z "$chains" ] || sed 's/^/-F /' <<<"$chains"
        [ -z "$chains" ] || sed 's/^/-X /' <<<"$chains"
        echo COMMIT
      } | $tool-restore -w --noflush
    done
  done
}

# pod_processes: a pod's are all below the cluster's own group, and its shim names the cluster's socket.
pod_processes() {
  pgrep -f -- "-namespace k8s.io .*-address $run/containerd.sock" || true
  find /sys/fs/cgroup -path "*/$group/*" -name cgroup.procs -exec cat {} + 2>/dev/null || true # groups vanish meanwhile
}

end_pods() {
  local pids tries=200
  while pids=$(pod_processes | sort -u) && [ -n "$pids" ]; do
    xargs kill -9 <<<"$pids" 2>/dev/null || true
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || die "some processes of pods cannot be ended: $(xargs <<<"$pids")"
    sleep 0.05
  done
  find /sys/fs/cgroup -depth -type d \( -path "*/$group" -o -path "*/$group/*" \) -exec rmdir {} + 2>/dev/null || true
}

# wipe: everything but the registry's images.
wipe() {
  local name place
  for name in kubelet proxy dns scheduler controllers registry; do kill_ "$name"; done
  end_pods
  for name in containerd apiserver etcd; do kill_ "$name"; done
  for place in "$state" "$run"; do
    awk -v k="$place/" 'index($2, k) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount -l
  done
  # A shim's socket lies where all shims of a machine have theirs; its bundle says where.
  cat "$run"/containerd/io.containerd.runtime.v2.task/k8s.io/*/{bootstrap.json,address} 2>/dev/null |
    grep -o '/run/containerd/s/[0-9a-f]*' | xargs -r rm -f || true
  ip link delete "$bridge" 2>/dev/null || true
  grep -ls "\"$bridge\"\|envfarm" /var/lib/cni/results/envfarm-* 2>/dev/null | xargs -r rm -f || true
  find /var/log/containers -lname "$state/*" -delete 2>/dev/null || true
  forget_rules
  find "$state" -mindepth 1 -maxdepth 1 ! -name registry -exec rm -rf {} + 2>/dev/null || true
  rm -rf "$run"
}

down() {
  wipe
  rm -rf "$state"
  rmdir /var/log/containers /run/envfarm 2>/dev/null || true
}

mkdir -p "$(dirname "$state")" /run/lock
exec 9>"/run/lock/envfarm-cluster-$id"
verb=$1
shift
if [ -L "$state/bin" ] && ! { [ "$verb" = up ] && dead; }; then bin=$(readlink "$state/bin"); fi # what it was started with
case $verb in
  alive)
    [ -e "$state/complete" ] || exit 0
    for name in "${programs[@]}"; do pid_of "$name" >/dev/null || exit 0; done
    works kubelet && echo yes
    ;;
  alone) alone ;;
  up | down)
    flock 9
    alone
    "$verb"
    ;;
  kill) kill_ "$1" ;;
  start)
    start "$1"
    wait_for "$1"
    ;;
  restart)
    kill_ "$1"
    start "$1"
    wait_for "$1"
    ;;
esac
