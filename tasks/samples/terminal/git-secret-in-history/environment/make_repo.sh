#!/bin/bash
# Makes the repository. Every date is fixed, so that every commit has the same id on every machine.
set -euo pipefail
export HOME=/tmp GIT_CONFIG_NOSYSTEM=1 LC_ALL=C
git init -q -b main "$1"
cd "$1"
git config user.name Builder
git config user.email builder@example.org
token=tok_live_9fK2mQ7xV4bT1cZ8sLpR3wYd
clock=1600000000

as() { export GIT_AUTHOR_NAME=$1 GIT_AUTHOR_EMAIL=${1,,}@example.org GIT_COMMITTER_NAME=${2:-$1} GIT_COMMITTER_EMAIL=${2:-$1}@example.org; }
tick() { clock=$((clock + 3607)); export GIT_AUTHOR_DATE="$clock ${1:-+0200}" GIT_COMMITTER_DATE="$((clock + 61)) +0000"; }
save() { tick "${2:-}"; git add -A; git commit -q --allow-empty -m "$1"; }
key() { printf -- '-----BEGIN DEPLOY KEY-----\n'; seq "$1" "$(($1 + 20))" | md5sum; seq "$1" 7 99 | md5sum; printf -- '-----END DEPLOY KEY-----\n'; }

as Ada
printf '# courier\n\nMoves parcels between depots.\n' > README.md
mkdir -p src && printf 'def route(a, b):\n    return [a, b]\n' > src/route.py
save 'Begin'
printf '[api]\nurl = https://courier.example.org\ntoken = %s\nretries = 3\n' "$token" > config.ini
save 'Add the configuration'
as Brendan Ada
mkdir -p deploy && key 1 > deploy/prod.key
printf '#!/bin/sh\nscp -i deploy/prod.key build.tar prod:\n' > deploy/push.sh && chmod +x deploy/push.sh
save 'Add a deploy script' -0700
as Ada
printf 'def route(a, b, via=()):\n    return [a, *via, b]\n' > src/route.py
save 'Route over other depots'
tick; git tag -a v1.0 -m 'First release

Parcels arrive.'
git checkout -q -b release-1.x
printf 'def route(a, b, via=()):\n    return [a, *(via or ()), b]\n' > src/route.py
save 'Accept no depots at all'
git checkout -q main
as Chloé
mkdir -p ops && git mv deploy/prod.key ops/prod-2020.key && sed -i 's,deploy/prod,ops/prod-2020,' deploy/push.sh
save 'Keep keys with operations'
sed -i 's/retries = 3/retries = 5/' config.ini
save "Retry more often

Works for me with curl -H 'Authorization: $token' as well."
as Brendan
git checkout -q -b feature/labels
printf 'def label(parcel):\n    return f"{parcel:>10}"\n' > src/label.py
save 'Print labels'
key 40 > 'src/test fixture.txt'
save 'Add a fixture'
git checkout -q main
as Ada
git rm -q ops/prod-2020.key && sed -i 's/-i [^ ]*//' deploy/push.sh
save 'Remove the key, it must not be here'
tick; git merge -q --no-ff -m "Merge branch 'feature/labels'" feature/labels
git tag v1.1
printf '#!/usr/bin/env python3\n# curl -H "Authorization: %s" https://courier.example.org/parcels\nimport src.route\n' "$token" > courier && chmod +x courier
ln -s courier parcels
save 'Add the command'
git checkout -q release-1.x
key 1 > prod.key && save 'Fix the deployment of 1.x'
git rm -q prod.key && save 'Tidy up'
tick; git tag -a v1.0.1 -m 'Fix: no depots'
git checkout -q main
as Chloé
printf 'token = %s\n' "$token" > notes.txt && tick && git add -A && git commit -q -m 'Notes to self'
tick; git reset -q --hard HEAD~1
sed -i 's/^Moves/Quickly moves/' README.md
save 'Say that it is quick' +0530
git rm -q 'src/test fixture.txt' && save 'Drop a fixture that nobody uses'
key 77 > debug.key && git add debug.key && tick && git stash -q
git pack-refs --all
git gc -q
git config --unset user.name
git config --unset user.email
