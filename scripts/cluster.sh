#!/usr/bin/env bash
# Finds a Kubernetes cluster, or starts a disposable one: the one that KUBECONFIG names, else kind's where kind is
# installed, else one node of our own (scripts/cluster/). Prints what it is, as a shell's assignments.
#   cluster.sh [up] | down | push IMAGE… | kubectl ARGUMENT… | kill PROGRAM | start PROGRAM | restart PROGRAM
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$root/scripts/cluster/settings.sh"

kind=envfarm # the name of kind's cluster
config=$cache/kubeconfig

node() { as_root env CLUSTER_STATE="$state" BIN="$bin" "$root/scripts/cluster/node.sh" "$@"; }

# kubectl_: the cluster's own, else the path's.
kubectl_() {
  local program
  for program in "$state/bin/kubectl" "$bin/kubectl" kubectl; do
    if command -v "$program" >/dev/null; then
      "$program" "$@"
      return
    fi
  done
  die "KUBECONFIG is set and there is no kubectl: install one, or unset KUBECONFIG"
}

answers() { kubectl_ --kubeconfig "$1" --request-timeout 10s get --raw /readyz >/dev/null 2>&1; }

# own KUBECONFIG: whether it leads to the node that we started.
own() { [ -e "$state/complete" ] && grep -q "https://$address:6443" "$1"; }

# describe KUBECONFIG: the registry is where clusters say it (KEP 1755).
describe() {
  local registry gvisor=no
  registry=$(kubectl_ --kubeconfig "$1" -n kube-public get configmap local-registry-hosting --ignore-not-found \
    -o 'jsonpath={.data.localRegistryHosting\.v1}' | sed -n 's/^ *host: *"\{0,1\}\([^"]*\)"\{0,1\}$/\1/p')
  [ -z "$(kubectl_ --kubeconfig "$1" get runtimeclass gvisor --ignore-not-found -o name)" ] || gvisor=yes
  printf 'KUBECONFIG=%q\nREGISTRY=%q\nGVISOR=%q\n' "$1" "$registry" "$gvisor"
  ! own "$1" || printf 'PROGRAMS=%q\n' "${programs[*]}"
  say "cluster: $(kubectl_ --kubeconfig "$1" get nodes --no-headers | wc -l) node(s), registry ${registry:-none}, gVisor $gvisor (KUBECONFIG=$1)"
}

up_kind() {
  if ! kind get clusters 2>/dev/null | grep -qx "$kind"; then
    "$root/scripts/engine.sh"
    say "cluster: starting kind's"
    quietly kind.log "$root/scripts/cluster/kind.sh" "$kind"
  fi
  kind get kubeconfig --name "$kind" >"$config.new"
  mv "$config.new" "$config"
}

up_own() {
  local began=$SECONDS
  if ! [ "$(node alive 2>/dev/null)" = yes ]; then
    node alone
    "$root/scripts/cluster/build.sh"
    node up
    say "cluster: up in $((SECONDS - began)) s"
  fi
  (umask 077 && as_root cat "$state/admin.conf" >"$config.new")
  mv "$config.new" "$config"
}

up() {
  if [ -n "${KUBECONFIG:-}" ]; then
    answers "$KUBECONFIG" || die "KUBECONFIG is $KUBECONFIG and no cluster answers there: start it, or unset KUBECONFIG"
    describe "$KUBECONFIG"
    return
  fi
  if command -v kind >/dev/null && command -v kubectl >/dev/null; then up_kind; else up_own; fi
  describe "$config"
}

down() {
  if command -v kind >/dev/null && kind get clusters 2>/dev/null | grep -qx "$kind"; then
    kind delete cluster --name "$kind"
    docker rm -f "$kind-registry" >/dev/null 2>&1 || true
  fi
  node down
  rm -f "$config"
}

# push IMAGE…: from the engine into the cluster's registry, under the same name.
push() {
  local registry image
  registry=$(eval "$(up)" && echo "$REGISTRY")
  [ -n "$registry" ] || die "the cluster names no registry (ConfigMap kube-public/local-registry-hosting): push to your own"
  for image in "$@"; do
    docker tag "$image" "$registry/$image"
    docker push -q "$registry/$image" >&2
  done
}

verb=${1:-up}
[ $# -eq 0 ] || shift
case $verb in
  up | down | push) "$verb" "$@" ;;
  kubectl) kubectl_ --kubeconfig "${KUBECONFIG:-$config}" "$@" ;;
  kill | start | restart)
    [[ " ${programs[*]} " = *" ${1:-} "* ]] || die "no program ${1:-} to $verb: there are ${programs[*]}"
    [ -e "$state/complete" ] || die "there is no cluster of our own in $state: scripts/cluster.sh starts one"
    node "$verb" "$1"
    ;;
  *) die "no verb $verb: there are up, down, push, kubectl, kill, start and restart" ;;
esac
