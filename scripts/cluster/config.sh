# What the node's programs are told: addresses, certificates, configuration, command lines. Sourced, after settings.sh.

id=$(printf %s "$state" | sha256sum | cut -c1-8)
run=/run/envfarm/$id # sockets lie here, for a socket's path has at most 107 bytes
group=envfarm-cluster-$id
node=node1
bridge=envfarm0
pods=10.213.0.0/16
services=10.214.0.0/16
dns=10.214.0.10
registry=localhost:5000
pause=envfarm.local/pause:1
handlers=(runsc runsc-nonet runsc-egress) # gVisor's, each with a RuntimeClass
features=PodLogsQuerySplitStreams=true
declare -A program_of=([etcd]=etcd [registry]=docker-registry [containerd]=containerd [apiserver]=kube-apiserver
  [controllers]=kube-controller-manager [scheduler]=kube-scheduler [kubelet]=kubelet [proxy]=kube-proxy [dns]=coredns)
[ ${#state} -le 50 ] || die "CLUSTER_STATE is too long for the sockets below it: use a path of at most 50 bytes"

# command_of PROGRAM: puts its command line into the array `command`.
command_of() {
  command=("$bin/${program_of[$1]}")
  case $1 in
    etcd)
      command+=(--name "$node" --data-dir "$state/etcd" --unsafe-no-fsync --log-level warn --quota-backend-bytes 8589934592
        --listen-client-urls "https://$address:2379" --advertise-client-urls "https://$address:2379"
        --listen-peer-urls "https://$address:2380" --initial-advertise-peer-urls "https://$address:2380"
        --initial-cluster "$node=https://$address:2380"
        --trusted-ca-file "$state/pki/ca.crt" --cert-file "$state/pki/etcd.crt" --key-file "$state/pki/etcd.key" --client-cert-auth
        --peer-trusted-ca-file "$state/pki/ca.crt" --peer-cert-file "$state/pki/etcd.crt" --peer-key-file "$state/pki/etcd.key"
        --peer-client-cert-auth)
      ;;
    registry) command+=(serve "$state/registry.yaml") ;;
    containerd) command+=(--config "$state/containerd.toml") ;;
    apiserver)
      command+=(--bind-address "$address" --advertise-address "$address" --secure-port 6443
        --etcd-servers "https://$address:2379" --etcd-cafile "$state/pki/ca.crt"
        --etcd-certfile "$state/pki/etcd.crt" --etcd-keyfile "$state/pki/etcd.key"
        --client-ca-file "$state/pki/ca.crt" --tls-cert-file "$state/pki/apiserver.crt" --tls-private-key-file "$state/pki/apiserver.key"
        --kubelet-certificate-authority "$state/pki/ca.crt" --kubelet-preferred-address-types InternalIP
        --kubelet-client-certificate "$state/pki/apiserver.crt" --kubelet-client-key "$state/pki/apiserver.key"
        --service-cluster-ip-range "$services" --service-account-issuer https://kubernetes.default.svc
        --service-account-key-file "$state/pki/accounts.pub" --service-account-signing-key-file "$state/pki/accounts.key"
        --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged
        --feature-gates "$features,WatchList=false") # lists by watch need an etcd that reports progress: Debian's does not
      ;;
    controllers)
      command+=(--kubeconfig "$state/controllers.conf" --bind-address "$address" --leader-elect=false
        --root-ca-file "$state/pki/ca.crt" --service-account-private-key-file "$state/pki/accounts.key"
        --cluster-signing-cert-file "$state/pki/ca.crt" --cluster-signing-key-file "$state/pki/ca.key"
        --use-service-account-credentials --kube-api-qps 200 --kube-api-burst 400)
      ;;
    scheduler)
      command+=(--kubeconfig "$state/scheduler.conf" --bind-address "$address" --leader-elect=false --kube-api-qps 500 --kube-api-burst 1000)
      ;;
    kubelet)
      command+=(--config "$state/kubelet.yaml" --kubeconfig "$state/kubelet.conf" --root-dir "$state/kubelet"
        --hostname-override "$node" --node-ip "$address")
      ;;
    proxy) command+=(--config "$state/proxy.yaml") ;;
    dns) command+=(-conf "$state/Corefile") ;;
  esac
}

# certificate NAME SUBJECT [ALTERNATIVE NAMES]: signed by the cluster's own authority, for both ends of a connection.
certificate() {
  local file=$state/pki/$1
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$file.key" -subj "$2" -out "$file.csr" 2>/dev/null
  openssl x509 -req -in "$file.csr" -CA "$state/pki/ca.crt" -CAkey "$state/pki/ca.key" -CAcreateserial -days 365 -out "$file.crt" \
    -extfile <(printf 'extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=%s\n' "${3:-DNS:$1}") 2>/dev/null
}

# identity NAME SUBJECT: a certificate and the kubeconfig that uses it.
identity() {
  certificate "$1" "$2"
  cat >"$state/$1.conf" <<EOF
apiVersion: v1
kind: Config
clusters: [{name: envfarm, cluster: {server: "https://$address:6443", certificate-authority-data: $(base64 -w0 "$state/pki/ca.crt")}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$state/pki/$1.crt"), client-key-data: $(base64 -w0 "$state/pki/$1.key")}}]
contexts: [{name: envfarm, context: {cluster: envfarm, user: $1}}]
current-context: envfarm
EOF
}

# configure: everything that is the same for the whole life of a cluster.
configure() {
  umask 077
  mkdir -p "$state" && ln -sfn "$bin" "$state/bin"
  mkdir -p "$state"/{pki,logs,cni,registries/"$registry",registry,kubelet} "$run"
  chmod 755 "$state" "$state/logs" "$run"
  echo "$state" >"$run/state"
  openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=envfarm-cluster \
    -keyout "$state/pki/ca.key" -out "$state/pki/ca.crt" 2>/dev/null
  openssl ecparam -genkey -name prime256v1 -noout -out "$state/pki/accounts.key"
  openssl ec -in "$state/pki/accounts.key" -pubout -out "$state/pki/accounts.pub" 2>/dev/null
  certificate etcd /CN=etcd "IP:$address"
  certificate apiserver /O=system:masters/CN=kube-apiserver \
    "IP:$address,IP:${services%.*}.1,IP:127.0.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  certificate serving /O=system:nodes/CN=system:node:$node "IP:$address,DNS:$node"
  identity admin /O=system:masters/CN=admin
  identity kubelet /O=system:nodes/CN=system:node:$node
  identity controllers /CN=system:kube-controller-manager
  identity scheduler /CN=system:kube-scheduler
  identity proxy /CN=system:kube-proxy
  identity dns /CN=system:coredns
  umask 022
  files
}

files() {
  cat >"$state/registry.yaml" <<EOF
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $state/registry}, delete: {enabled: true}}
http: {addr: "127.0.0.1:${registry#*:}"}
EOF
  echo "[host.\"http://127.0.0.1:${registry#*:}\"]" >"$state/registries/$registry/hosts.toml"
  cat >"$state/cni/envfarm.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "envfarm", "plugins": [{"type": "bridge", "bridge": "$bridge", "isGateway": true, "hairpinMode": true,
  "mtu": $(cat "/sys/class/net/$(ip route show default | sed -n '1s/.* dev \([^ ]*\).*/\1/p')/mtu" 2>/dev/null || echo 1500),
  "ipam": {"type": "host-local", "dataDir": "$run/ipam", "ranges": [[{"subnet": "$pods"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
EOF
  containerd_config >"$state/containerd.toml"
  local handler
  for handler in "${handlers[@]}"; do
    { printf 'binary_name = "%s/runsc"\nroot = "%s/runsc"\n' "$installed" "$run" && runsc_options "$handler"; } >"$state/$handler.toml"
  done
  cat >"$state/Corefile" <<EOF
.:1053 {
  bind $address
  errors
  ready $address:8181
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    kubeconfig $state/dns.conf
  }
  forward . /etc/resolv.conf
  cache 30
}
EOF
  kubelet_config >"$state/kubelet.yaml"
  cat >"$state/proxy.yaml" <<EOF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: $pods
hostnameOverride: $node
clientConnection: {kubeconfig: $state/proxy.conf}
healthzBindAddress: $address:10256
metricsBindAddress: $address:10249
nodePortAddresses: [primary]
iptables: {localhostNodePorts: false}
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
oomScoreAdj: 0
EOF
}

# runsc_options HANDLER: what sets it apart from `runsc`.
runsc_options() {
  case $1 in
    # An agent in a sandbox without a network finds none, not even the cluster's: gVisor's own stack has nothing but lo.
    runsc-nonet) printf '[runsc_config]\nnetwork = "none"\n' ;;
    # iptables speaks through a raw socket; who has NET_RAW is still for the pod to say.
    runsc-egress) printf '[runsc_config]\nnet-raw = "true"\n' ;;
  esac
}

# Where root may not raise a process's rank for the memory killer (no CAP_SYS_RESOURCE), restrict_oom_score_adj lets pods start.
containerd_config() {
  cat <<EOF
version = 3
root = "$state/containerd"
state = "$run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
address = "$run/containerd.sock"
[plugins."io.containerd.cri.v1.images"]
max_concurrent_downloads = 8
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "$pause"
[plugins."io.containerd.cri.v1.images".registry]
config_path = "$state/registries"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["$bin/cni"]
conf_dir = "$state/cni"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "$bin/runc"
Root = "$run/runc"
EOF
  local name
  for name in "${handlers[@]}"; do
    cat <<EOF
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.$name]
runtime_type = "io.containerd.runsc.v1"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.$name.options]
TypeUrl = "io.containerd.runsc.v1.options"
ConfigPath = "$state/$name.toml"
EOF
  done
}

# Images stay however full the disk is: they are somebody's work, and a test's image is not pulled again.
kubelet_config() {
  cat <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
healthzBindAddress: $address
tlsCertFile: $state/pki/serving.crt
tlsPrivateKeyFile: $state/pki/serving.key
authentication: {anonymous: {enabled: false}, x509: {clientCAFile: $state/pki/ca.crt}, webhook: {enabled: true}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://$run/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$group
failCgroupV1: false
failSwapOn: false
clusterDomain: cluster.local
clusterDNS: [$dns]
podLogsDir: $state/pods
volumePluginDir: $state/kubelet/volume-plugins
maxPods: 250
podPidsLimit: 512
containerLogMaxSize: 10Mi
containerLogMaxFiles: 3
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
serializeImagePulls: false
registryPullQPS: 0
eventRecordQPS: 0
kubeAPIQPS: 200
kubeAPIBurst: 400
oomScoreAdj: 0
featureGates: {${features/=/: }}
EOF
}

# The manifests are YAML documents, each with its line before it.
registry_manifest() {
  cat <<EOF
---
apiVersion: v1
kind: ConfigMap
metadata: {name: local-registry-hosting, namespace: kube-public}
data: {localRegistryHosting.v1: "host: \"$registry\"\n"}
EOF
}

runtime_manifests() {
  local class
  for class in runc:runc gvisor:runsc gvisor-nonet:runsc-nonet gvisor-egress:runsc-egress; do
    [ $class = runc:runc ] || [ -x "$installed/containerd-shim-runsc-v1" ] || continue
    cat <<EOF
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: ${class%:*}}
handler: ${class#*:}
EOF
  done
}

dns_manifests() {
  cat <<EOF
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:coredns"}
rules:
- {apiGroups: [""], resources: [services, pods, namespaces], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "system:coredns"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:coredns"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: "system:coredns"}]
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns, kubernetes.io/name: CoreDNS}}
spec:
  clusterIP: $dns
  ports: [{name: dns, port: 53, protocol: UDP, targetPort: 1053}, {name: dns-tcp, port: 53, protocol: TCP, targetPort: 1053}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns-node, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
endpoints: [{addresses: ["$address"], conditions: {ready: true}}]
ports: [{name: dns, port: 1053, protocol: UDP}, {name: dns-tcp, port: 1053, protocol: TCP}]
EOF
}
