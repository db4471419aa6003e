#!/usr/bin/env bash
# Deploys the farm into the cluster that scripts/cluster.sh finds, with this checkout's image, and prints where its Service
# is reached from outside and with which token, as a shell's assignments. A second run changes nothing.
#   deploy.sh [OVERLAY [TABLE]]    TABLE: what `envfarm tasks push` wrote; none: the farm has no images of tasks yet
set -euo pipefail
. "$(dirname "$0")/lib.sh"
overlay=${1:-disposable} table=${2:-$root/k8s/deploy/base/images.json}
folder=$cache/deploy/$overlay
[ -d "$root/k8s/deploy/overlays/$overlay" ] || die "no overlay $overlay: there are $(cd "$root/k8s/deploy/overlays" && echo *)"
[ -f "$table" ] || die "no table $table: write it with \`envfarm tasks push REGISTRY --into $table\`"

kubectl() { "$root/scripts/cluster.sh" kubectl "$@"; }

found=$("$root/scripts/cluster.sh")
eval "$found"
export KUBECONFIG
registry=$REGISTRY
[ -n "$registry" ] || die "the cluster names no registry (ConfigMap kube-public/local-registry-hosting): deploy by hand as docs/cluster.md says"

# pushed IMAGE: its reference by digest in the registry.
pushed() {
  "$root/scripts/cluster.sh" push "$1"
  docker image inspect -f '{{ join .RepoDigests "\n" }}' "$registry/$1" | grep -F "$registry/${1%:*}@" | head -n 1
}

"$root/scripts/image.sh"
"$root/scripts/images.sh" busybox egress renderer
images=(orchestrator busybox)
[[ $overlay != *ha ]] || { "$root/scripts/images.sh" postgres && images+=(postgres); }
cut=$(pushed envfarm/busybox:1) egress=$(pushed envfarm/egress:1) renderer=$(pushed envfarm/renderer:1)

# An overlay of this checkout's own, as an operator would write one.
mkdir -p "$folder"
cp "$table" "$folder/images.json"
{
  printf 'apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../../../k8s/deploy/overlays/%s]\nimages:\n' "$overlay"
  for image in "${images[@]}"; do
    reference=$(pushed "envfarm/$image:1")
    printf '  - {name: localhost:5000/envfarm/%s, newName: %s, digest: "%s"}\n' "$image" "${reference%@*}" "${reference#*@}"
  done
  printf 'configMapGenerator:\n  - {name: envfarm-images, namespace: envfarm, behavior: replace, files: [images.json]}\n'
  printf '  - name: envfarm-settings\n    namespace: envfarm\n    behavior: merge\n    literals: [ENVFARM_KUBERNETES__CUT_IMAGE=%s, ENVFARM_EGRESS__IMAGE=%s, ENVFARM_RENDERER_IMAGE=%s]\n' "$cut" "$egress" "$renderer"
} >"$folder/kustomization.yaml"

kubectl apply -f "$root/k8s/deploy/base/namespaces.yaml" >"$cache/logs/deploy.log"
if ! kubectl -n envfarm get secret envfarm -o name >/dev/null 2>&1; then
  random() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }
  password=$(random) token=$(random)
  # By a file, for what stands on a command line can be read by everybody on this machine.
  printf 'tokens=%s\nmetrics=%s\npassword=%s\ndatabase=postgresql://envfarm:%s@postgres.envfarm.svc/envfarm\n' \
    "$token" "$token" "$password" "$password" | kubectl -n envfarm create secret generic envfarm --from-env-file /dev/stdin >>"$cache/logs/deploy.log"
fi
kubectl apply -k "$folder" >>"$cache/logs/deploy.log"
say "deploying the overlay $overlay (log: $cache/logs/deploy.log)"
kubectl -n envfarm rollout status statefulset/envfarm --timeout "${PATIENCE:-300}s" >>"$cache/logs/deploy.log" || {
  kubectl -n envfarm get pods >&2
  kubectl -n envfarm logs statefulset/envfarm --tail 20 >&2 || true
  die "the servers do not become ready: see above, and \`kubectl -n envfarm describe pods\`"
}
address=$(kubectl get nodes -o 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}')
port=$(kubectl -n envfarm get service envfarm -o 'jsonpath={.spec.ports[0].nodePort}')
token=$(kubectl -n envfarm get secret envfarm -o 'jsonpath={.data.tokens}' | base64 -d)
say "the farm serves at http://$address:$port"
printf 'ENVFARM_URL=%q\nENVFARM_TOKEN=%q\n' "http://$address:$port" "${token%%[,:]*}"
