#!/usr/bin/env bash
# Makes the images that sample tasks and tests stand on. Where a container registry answers, Debian comes from there; where
# none does, debootstrap makes it. An image is made again only when its recipe, its parent's or the host's CA bundle changed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
suite=bookworm

ca_bundle() {
  local file
  for file in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
    [ -n "$file" ] && [ -f "$file" ] && printf '%s' "$file" && return
  done
  die "no CA bundle on this host: apt-get install ca-certificates, or name yours with SSL_CERT_FILE"
}

recipe() { cat "$@" | sha256sum | cut -c1-16; }

# parent NAME: the image of ours that it is built on.
parent() { sed -n 's|^FROM envfarm/\([a-z]*\):1.*|\1|p' "$root/images/$1/Dockerfile" | head -n 1; }

# files NAME: all that goes into it. The renderer shares two files with the farm, and has nothing else of it.
files() {
  find "$root/images/$1" -type f ! -path '*/__pycache__/*' | LC_ALL=C sort
  if [ "$1" = renderer ]; then printf '%s\n' "$root/envs/web/recording.py" "$root/tasks/action.py"; fi
}

# all_files NAME: those of what it is built on too, down to the base.
all_files() {
  local below
  below=$(parent "$1")
  case $below in '' | base) ;; *) all_files "$below" ;; esac
  files "$1"
}

made() { [ "$(docker image inspect -f '{{ index .Config.Labels "envfarm.recipe" }}' "$1" 2>/dev/null)" = "$2" ]; }

# debian: pulled, or bootstrapped from the package archive.
debian() {
  local image=envfarm/debian:12
  docker image inspect "$image" >/dev/null 2>&1 && return
  if timeout 60 docker pull -q "debian:$suite-slim" >"$cache/logs/pull.log" 2>&1 </dev/null; then
    docker tag "debian:$suite-slim" "$image"
    say "$image: pulled"
    return
  fi
  [ -x /usr/sbin/debootstrap ] || command -v debootstrap >/dev/null || apt_install debootstrap
  say "$image: no container registry answers, so it is bootstrapped from Debian's archive"
  fs=$(mktemp -d /var/tmp/envfarm-debian.XXXXXX) # debootstrap takes no path with a space in it
  trap 'as_root rm -rf "$fs"' EXIT
  quietly debootstrap.log as_root env PATH="$PATH:/usr/sbin:/sbin" debootstrap --variant=minbase "$suite" "$fs" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
  as_root sh -c 'rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*
    printf "deb %s %s main\ndeb %s %s-updates main\ndeb %s-security %s-security main\n" "$3" "$2" "$3" "$2" "$3" "$2" >"$1/etc/apt/sources.list"' \
    debian "$fs" "$suite" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
  as_root tar -C "$fs" -c . | docker import -c 'CMD ["bash"]' - "$image" >/dev/null
  as_root rm -rf "$fs"
  trap - EXIT
}

# build NAME RECIPE [DOCKER OPTIONS…]: envfarm/NAME:1 from images/NAME.
build() {
  local name=$1 recipe=$2 started=$SECONDS
  shift 2
  if made "envfarm/$name:1" "$recipe"; then return; fi
  say "envfarm/$name:1: building"
  quietly "image-$name.log" docker build --network="${BUILD_NETWORK:-default}" --label "envfarm.recipe=$recipe" \
    -t "envfarm/$name:1" "$@"
  say "envfarm/$name:1: built in $((SECONDS - started)) s"
}

# child NAME: an image that is not the base, after what it is built on.
child() {
  local name=$1 recipe context below
  below=$(parent "$name")
  case $below in '' | base) ;; *) child "$below" ;; esac
  recipe=$({ cat "$cache/base-recipe" && all_files "$name" | tr '\n' '\0' | xargs -0 cat; } | sha256sum | cut -c1-16)
  made "envfarm/$name:1" "$recipe" && return
  context=$(mktemp -d "$cache/$name.XXXXXX")
  cp -r "$root/images/$name/." "$context"
  if [ "$name" = renderer ]; then
    mkdir -p "$context/envfarm/envs/web" "$context/envfarm/tasks"
    cp "$root/envs/web/recording.py" "$context/envfarm/envs/web" && cp "$root/tasks/action.py" "$context/envfarm/tasks"
  fi
  build "$name" "$recipe" "$context"
  rm -rf "$context"
}

base() {
  local bundle context recipe
  bundle=$(ca_bundle)
  recipe=$(recipe "$root"/images/base/* "$bundle")
  printf '%s' "$recipe" >"$cache/base-recipe"
  made envfarm/base:1 "$recipe" && return
  debian
  context=$(mktemp -d "$cache/base.XXXXXX")
  cp "$root"/images/base/* "$context"
  cp "$bundle" "$context/host-ca.crt"
  build base "$recipe" "$context"
  rm -rf "$context"
}

engine_root=$(docker info -f '{{.DockerRootDir}}')
wanted=("$@")
[ ${#wanted[@]} -gt 0 ] || wanted=(busybox egress go rust renderer) # and what the last is built on: node, web
missing=no
for name in base "${wanted[@]}"; do docker image inspect "envfarm/$name:1" >/dev/null 2>&1 || missing=yes; done
[ "$missing" = no ] || [ ! -d "$engine_root" ] || need_disk "$engine_root" 8 "building the images"

base
jobs=()
for name in "${wanted[@]}"; do
  [ "$name" = base ] && continue
  [ -d "$root/images/$name" ] || die "no image $name: there are $(cd "$root/images" && echo *)"
  if [ "$name" = orchestrator ]; then "$root/scripts/image.sh"; continue; fi # made of the whole checkout
  child "$name" &
  jobs+=($!)
done
for job in "${jobs[@]}"; do wait "$job"; done
say "images: base ${wanted[*]}"
