#!/bin/sh
# For players that know only Harbor's format: the whole suite's exit status, where the agent worked.
# envfarm itself scores in a fresh sandbox, test by test.
cd /testbed || exit 1
mkdir -p /logs/verifier
[ -d /verifier/tests ] || sh "$(dirname "$0")/get_tests.sh" /verifier/tests || exit 1
rm -rf ./test
cp -a /verifier/tests/. /testbed/
if report=/tmp/report; part=$report.part; status=0; IFS='
'; set -f; set -- $(find . -name node_modules -prune -o -type f \( -path '*/test/*.js' -o -path '*/test/*.mjs' -o -name '*.test.js' -o -name '*.test.mjs' -o -name test.js \) -print | sed 's,^\./,,' | LC_ALL=C sort); : > $report; for file in "$@"; do node "$file" > "$part" || status=1; printf '\n# envfarm: file %s\n' "$file" >> $report; cat $part >> $report; rm -f $part; done; (exit $status); then echo 1; else echo 0; fi > /logs/verifier/reward.txt
