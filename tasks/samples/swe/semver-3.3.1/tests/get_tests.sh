#!/bin/sh
# Lays the tests into the folder $1.
set -e
here="$(cd "$(dirname "$0")" && pwd)"
tests="$1"
mkdir -p "$tests"
curl -fsSL --retry 5 -o /tmp/release 'https://proxy.golang.org/github.com/!masterminds/semver/v3/@v/v3.3.1.zip'
echo 'e1b204876a92f8aae3488670395d8ee0813fc775cd883727f47768e9040905eb  /tmp/release' | sha256sum -c --quiet -
mkdir /tmp/unpacked
unzip -q /tmp/release -d /tmp/unpacked
mkdir -p /tmp/newer
cp -a /tmp/unpacked/github.com/Masterminds/semver/v3@v3.3.1/. /tmp/newer/
rm -rf /tmp/release /tmp/unpacked
tar -C /tmp/newer -cf - --verbatim-files-from -T "$here/files.txt" | tar -C "$tests" -xf -
rm -rf /tmp/newer
