#!/usr/bin/env bash
# The demo in a cluster: pushes the tasks' images, deploys the farm, and plays every task against its Service from outside.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
export ENVFARM_DATA=$cache/demo-cluster
table=$cache/deploy/images.json

found=$("$root/scripts/cluster.sh")
eval "$found"
export KUBECONFIG
"$root/.venv/bin/envfarm" tasks push "$REGISTRY" --into "$table"
found=$("$root/scripts/deploy.sh" disposable "$table")
eval "$found"
export ENVFARM_URL ENVFARM_TOKEN
exec "$root/.venv/bin/python" -m envfarm.orchestrator.demo
