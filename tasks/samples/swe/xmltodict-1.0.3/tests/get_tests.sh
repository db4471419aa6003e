#!/bin/sh
# Lays the tests into the folder $1.
set -e
here="$(cd "$(dirname "$0")" && pwd)"
tests="$1"
mkdir -p "$tests"
curl -fsSL --retry 5 -o /tmp/release https://files.pythonhosted.org/packages/a9/66/d1242ce8748c698e0036837dfbb530480e31f11d3ecf7101cd4e30d29913/xmltodict-1.0.3.tar.gz
echo '3bf1f49c7836df34cf6d9cc7e690c4351f7dfff2ab0b8a1988bba4a9b9474909  /tmp/release' | sha256sum -c --quiet -
mkdir -p /tmp/newer
tar -xf /tmp/release -C /tmp/newer --strip-components=1 --no-same-owner
chmod -R u+rwX,go+rX /tmp/newer
rm -rf /tmp/release /tmp/unpacked
tar -C /tmp/newer -cf - --verbatim-files-from -T "$here/files.txt" | tar -C "$tests" -xf -
rm -rf /tmp/newer
