#!/bin/sh
# Lays the tests into the folder $1.
set -e
here="$(cd "$(dirname "$0")" && pwd)"
tests="$1"
mkdir -p "$tests"
curl -fsSL --retry 5 -o /tmp/release https://files.pythonhosted.org/packages/4f/78/d9b09ba24bb36ef8b83b71be547e118d46214735b6dfb39e4bfde0e9b9dd/parse-1.20.2.tar.gz
echo 'b41d604d16503c79d81af5165155c0b20f6c8d6c559efa66b4b695c3e5a0a0ce  /tmp/release' | sha256sum -c --quiet -
mkdir -p /tmp/newer
tar -xf /tmp/release -C /tmp/newer --strip-components=1 --no-same-owner
chmod -R u+rwX,go+rX /tmp/newer
rm -rf /tmp/release /tmp/unpacked
tar -C /tmp/newer -cf - --verbatim-files-from -T "$here/files.txt" | tar -C "$tests" -xf -
rm -rf /tmp/newer
