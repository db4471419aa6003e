# What the scripts of the disposable cluster share. Sourced, after lib.sh.

state=${CLUSTER_STATE:-/var/lib/envfarm/cluster}
# What it is built from names where it lies, so that another checkout of the same state builds nothing again.
recipe=$(cd "$root/scripts/cluster" && cat go.mod go.sum build.sh ./*/main.go | sha256sum | cut -c1-12)
installed=/usr/local/lib/envfarm
bin=${BIN:-$installed/cluster-$recipe}
address=10.213.0.1 # of the node, on the bridge that its pods stand on
programs=(etcd registry containerd apiserver controllers scheduler kubelet proxy dns)
