# A Go of one version for all that is built here, and its caches. Sourced, after lib.sh.

go_version=1.26.3 # what the go.mod files below scripts/ ask for

# go_: from the path, or from the module proxy. Niced, for what waits for people or goes on beside it is worth more.
go_() {
  local arch sum place name
  if command -v go >/dev/null && go version | grep -q " go${go_version%.*}\."; then
    GOTOOLCHAIN=local nice -n 5 go "$@"
    return
  fi
  arch=$(uname -m)
  case $arch in
    x86_64) arch=amd64 sum=31905a748926ceb42bda1b1c490508b8734fb4e1492c6187b4d52ea1ba722b15 ;;
    aarch64) arch=arm64 sum=b7c1b9093336a1b4970eb76c02673ea4b62ec1470c05f62fb758046024c474b4 ;;
  esac
  name=v0.0.1-go$go_version.linux-$arch
  place=$cache/go/golang.org/toolchain@$name
  if [ ! -x "$place/bin/go" ]; then
    say "fetching Go $go_version from the module proxy"
    command -v curl >/dev/null && command -v unzip >/dev/null || apt_install curl unzip ca-certificates
    curl -fsSLo "$cache/go.zip" "https://proxy.golang.org/golang.org/toolchain/@v/$name.zip"
    echo "$sum  $cache/go.zip" | sha256sum -c --quiet || die "Go's archive is not the one expected: remove $cache/go.zip and run again"
    unzip -q "$cache/go.zip" -d "$cache/go"
    rm "$cache/go.zip"
    chmod -R u+rx "$place/bin" "$place/pkg/tool"
  fi
  GOTOOLCHAIN=local nice -n 5 "$place/bin/go" "$@"
}

# go_begin: one build at a time, for each takes all processors; those that wait share the caches of the one before.
go_begin() {
  export CGO_ENABLED=0 GOFLAGS="-buildvcs=false -trimpath" GOCACHE=$cache/go-build GOMODCACHE=$cache/go-mod
  exec 8>"$cache/go.users" 7>"$cache/go.lock"
  flock -s 8
  flock 7
}

# go_end: the last one removes gigabytes that nothing else needs.
go_end() {
  if flock -n 8; then
    chmod -R u+w "$cache/go-mod" 2>/dev/null || true
    rm -rf "$cache/go-mod" "$cache/go-build"
  fi
  exec 7>&- 8>&-
}
