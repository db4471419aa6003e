#!/usr/bin/env bash
# Makes the orchestrator's image, envfarm/orchestrator:1, from this checkout; again only when something that goes into it
# changed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
image=envfarm/orchestrator:1
parts=(pyproject.toml README.md LICENSE src envs k8s orchestrator tasks toolbox trainers)

# context: a tar of what goes into it, the same bytes for the same files.
context() {
  tar -C "$root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=go-w,a+rX --exclude=__pycache__ --exclude='*.egg-info' --exclude=k8s/deploy \
    -cf - "${parts[@]}" images/orchestrator
}

"$root/scripts/images.sh" base # no more than it needs
recipe=$({ cat "$cache/base-recipe" && context; } | sha256sum | cut -c1-16)
if [ "$(docker image inspect -f '{{ index .Config.Labels "envfarm.recipe" }}' "$image" 2>/dev/null)" != "$recipe" ]; then
  began=$SECONDS
  say "$image: building"
  context >"$cache/orchestrator.tar"
  build() { docker build --network="${BUILD_NETWORK:-default}" --label "envfarm.recipe=$recipe" -t "$image" -f images/orchestrator/Dockerfile - <"$cache/orchestrator.tar"; }
  quietly image-orchestrator.log build
  rm -f "$cache/orchestrator.tar"
  say "$image: built in $((SECONDS - began)) s"
fi
say "$image: $(($(docker image inspect -f '{{ .Size }}' "$image") / 1000000)) MB"
