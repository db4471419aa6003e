#!/usr/bin/env bash
# Builds the programs of the disposable cluster from the Go module proxy (go.sum beside this file pins every source) and takes
# the rest from Debian's packages. Nothing is installed where others would find it, and nothing is built twice.
#   build.sh [kwok]
set -euo pipefail
. "$(dirname "$0")/../lib.sh"
. "$root/scripts/cluster/settings.sh"
. "$root/scripts/go.sh"

version=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' "$root/scripts/cluster/go.mod")
made=$cache/cluster-bin
kwok=$installed/kwok-$(awk '$2 == "sigs.k8s.io/kwok" { print $3; exit }' "$root/scripts/cluster/kwok/go.mod")

# packaged FOLDER: unpacked and not installed, for installing would start an etcd and a registry as services of this machine.
packaged() {
  local apt=(apt-get -qq -o APT::Sandbox::User=root download etcd-server docker-registry containernetworking-plugins runc) file
  mkdir -p "$made/cni" && cd "$1" && { "${apt[@]}" || { as_root apt-get -qq update && "${apt[@]}"; }; } || return
  for file in *.deb; do dpkg-deb -x "$file" . || return; done
  cp usr/bin/etcd usr/bin/docker-registry usr/sbin/runc "$made" && cp usr/lib/cni/{bridge,host-local,loopback} "$made/cni"
}

go_build() { go_ build -tags no_btrfs,no_zfs,no_devmapper,no_tracing -ldflags "-s -w $1" -o "$made/$2" "$3"; }

build() {
  local started=$SECONDS stamp name
  go_begin
  if [ -x "$bin/kubectl" ]; then # built while we waited
    go_end
    return
  fi
  need_disk "$cache" 5 "building the cluster"
  say "cluster: building Kubernetes ${version#v} (5 to 10 minutes, once)"
  rm -rf "$made"
  folder=$(mktemp -d /var/tmp/envfarm-debs.XXXXXX)
  trap 'rm -rf "$folder"' EXIT
  quietly cluster-debs.log packaged "$folder"
  cd "$root/scripts/cluster"
  stamp=$(printf -- '-X k8s.io/%s ' "component-base/version.gitVersion=$version" "client-go/pkg/version.gitVersion=$version" \
    component-base/version.gitMajor=1 "component-base/version.gitMinor=$(cut -d . -f 2 <<<"$version")")
  quietly cluster-build.log go_build "" containerd-shim-runc-v2 ./shim
  quietly cluster-build.log go_build "" pause ./pause
  quietly cluster-build.log go_build "" coredns ./coredns
  quietly cluster-build.log go_build "" containerd ./containerd
  quietly cluster-build.log go_build "$stamp" kube ./kube
  for name in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do ln -s kube "$made/$name"; done
  ln -s containerd "$made/ctr"
  go_end
  as_root mkdir -p "$installed"
  as_root cp -r --no-preserve ownership "$made" "$bin.$$"
  as_root mv -T "$bin.$$" "$bin" 2>/dev/null || as_root rm -rf "$bin.$$" # whole or not at all; another checkout may have been first
  rm -rf "$made"
  say "cluster: built in $((SECONDS - started)) s"
}

# kwok: nodes and pods that are only played, for benchmarks of many.
kwok() {
  go_begin
  if [ ! -x "$kwok" ]; then
    need_disk "$cache" 3 "building kwok"
    say "cluster: building kwok"
    cd "$root/scripts/cluster/kwok"
    quietly cluster-kwok.log go_ build -ldflags "-s -w" -o "$cache/kwok" sigs.k8s.io/kwok/cmd/kwok
    as_root install -D -m 755 "$cache/kwok" "$kwok"
    rm "$cache/kwok"
  fi
  go_end
  say "cluster: kwok is $kwok"
}

command -v apt-get >/dev/null || [ -x "$bin/kubectl" ] || die "this system has no apt-get: set KUBECONFIG to a cluster that runs, or install kind"
for program in openssl iptables ip; do
  PATH=$PATH:/usr/sbin:/sbin command -v $program >/dev/null || apt_install openssl iptables iproute2
done
compgen -G '/usr/lib/*/libseccomp.so.2' >/dev/null || apt_install libseccomp2 # of runc
[ -x "$bin/kubectl" ] || build
"$root/scripts/gvisor.sh" build
[ "${1:-}" != kwok ] || kwok
