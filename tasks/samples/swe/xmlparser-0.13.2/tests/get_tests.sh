#!/bin/sh
# Lays the tests into the folder $1.
set -e
here="$(cd "$(dirname "$0")" && pwd)"
tests="$1"
mkdir -p "$tests"
curl -fsSL --retry 5 -o /tmp/release https://static.crates.io/crates/xmlparser/xmlparser-0.13.2.crate
echo '52613e655f6f11f63c0fe7d1c3b5ef69e44d96df9b65dab296b441ed0e1125f5  /tmp/release' | sha256sum -c --quiet -
mkdir -p /tmp/newer
tar -xf /tmp/release -C /tmp/newer --strip-components=1 --no-same-owner
chmod -R u+rwX,go+rX /tmp/newer
rm -rf /tmp/release /tmp/unpacked
tar -C /tmp/newer -cf - --verbatim-files-from -T "$here/files.txt" | tar -C "$tests" -xf -
rm -rf /tmp/newer
