#!/bin/sh
# Lays the tests into the folder $1.
set -e
here="$(cd "$(dirname "$0")" && pwd)"
tests="$1"
mkdir -p "$tests"
curl -fsSL --retry 5 -o /tmp/release https://files.pythonhosted.org/packages/04/d7/c2d7834f49eb10ba2eb55797a8a2e64c03679ec82cce58cfe1f03bb55024/cachetools-7.3.1.tar.gz
echo '32e20b38b9cb7ff8d9fa7692e2f8969be3010083e6e7eac54226d51a91425d15  /tmp/release' | sha256sum -c --quiet -
mkdir -p /tmp/newer
tar -xf /tmp/release -C /tmp/newer --strip-components=1 --no-same-owner
chmod -R u+rwX,go+rX /tmp/newer
rm -rf /tmp/release /tmp/unpacked
tar -C /tmp/newer -cf - --verbatim-files-from -T "$here/files.txt" | tar -C "$tests" -xf -
rm -rf /tmp/newer
