#!/bin/sh
# Lays the tests into the folder $1.
set -e
here="$(cd "$(dirname "$0")" && pwd)"
tests="$1"
mkdir -p "$tests"
curl -fsSL --retry 5 -o /tmp/release https://files.pythonhosted.org/packages/01/ee/02a2c011bdab74c6fb3c75474d40b3052059d95df7e73351460c8588d963/h11-0.16.0.tar.gz
echo '4e35b956cf45792e4caa5885e69fba00bdbc6ffafbfa020300e549b208ee5ff1  /tmp/release' | sha256sum -c --quiet -
mkdir -p /tmp/newer
tar -xf /tmp/release -C /tmp/newer --strip-components=1 --no-same-owner
chmod -R u+rwX,go+rX /tmp/newer
rm -rf /tmp/release /tmp/unpacked
tar -C /tmp/newer -cf - --verbatim-files-from -T "$here/files.txt" | tar -C "$tests" -xf -
rm -rf /tmp/newer
