#!/bin/sh
# Lays the tests into the folder $1.
set -e
here="$(cd "$(dirname "$0")" && pwd)"
tests="$1"
mkdir -p "$tests"
curl -fsSL --retry 5 -o /tmp/release https://proxy.golang.org/github.com/mitchellh/mapstructure/@v/v1.4.3.zip
echo '87dabbf71bb4e829595cb399e20c1b15b7bac2092aa67ca7b71d1bf0ec3b68b7  /tmp/release' | sha256sum -c --quiet -
mkdir /tmp/unpacked
unzip -q /tmp/release -d /tmp/unpacked
mkdir -p /tmp/newer
cp -a /tmp/unpacked/github.com/mitchellh/mapstructure@v1.4.3/. /tmp/newer/
rm -rf /tmp/release /tmp/unpacked
tar -C /tmp/newer -cf - --verbatim-files-from -T "$here/files.txt" | tar -C "$tests" -xf -
rm -rf /tmp/newer
