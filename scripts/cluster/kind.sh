#!/usr/bin/env bash
# kind.sh NAME: a cluster of kind's with what tests expect of any: a registry on localhost:5000 that its node pulls from, and
# RuntimeClasses for runc and, where it could be built, gVisor.
set -euo pipefail
. "$(dirname "$0")/../lib.sh"
. "$root/scripts/cluster/settings.sh"
. "$root/scripts/cluster/config.sh"
name=$1
config=$cache/kind.yaml

"$root/scripts/gvisor.sh" build
cat >"$config" <<EOF
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
featureGates: {${features/=/: }}
kubeadmConfigPatches:
- |
  kind: KubeletConfiguration
  podPidsLimit: 512
  imageGCHighThresholdPercent: 100
containerdConfigPatches:
- |
  [plugins."io.containerd.cri.v1.images".registry]
  config_path = "/etc/containerd/certs.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
EOF
if [ -x "$installed/containerd-shim-runsc-v1" ]; then
  for handler in "${handlers[@]}"; do
    { printf 'binary_name = "/usr/local/bin/runsc"\n' && runsc_options "$handler"; } >"$cache/$handler.toml"
    for plugin in io.containerd.cri.v1.runtime io.containerd.grpc.v1.cri; do # containerd 2 and 1
      cat >>"$config" <<EOF
  [plugins."$plugin".containerd.runtimes.$handler]
  runtime_type = "io.containerd.runsc.v1"
  [plugins."$plugin".containerd.runtimes.$handler.options]
  TypeUrl = "io.containerd.runsc.v1.options"
  ConfigPath = "/etc/containerd/$handler.toml"
EOF
    done
  done
  cat >>"$config" <<EOF
nodes:
- role: control-plane
  extraMounts:
  - {hostPath: $installed/runsc, containerPath: /usr/local/bin/runsc}
  - {hostPath: $installed/containerd-shim-runsc-v1, containerPath: /usr/local/bin/containerd-shim-runsc-v1}
EOF
  for handler in "${handlers[@]}"; do
    echo "  - {hostPath: $cache/$handler.toml, containerPath: /etc/containerd/$handler.toml}" >>"$config"
  done
fi
kind create cluster --name "$name" --config "$config" --kubeconfig "$cache/kubeconfig"
docker inspect "$name-registry" >/dev/null 2>&1 ||
  docker run -d --restart=always -p "127.0.0.1:${registry#*:}:5000" --network kind --name "$name-registry" registry:2
for node in $(kind get nodes --name "$name"); do
  docker exec "$node" mkdir -p "/etc/containerd/certs.d/$registry"
  echo "[host.\"http://$name-registry:5000\"]" | docker exec -i "$node" cp /dev/stdin "/etc/containerd/certs.d/$registry/hosts.toml"
done
{ registry_manifest; runtime_manifests; } | kubectl --kubeconfig "$cache/kubeconfig" apply -f -
