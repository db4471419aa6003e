#!/bin/sh
# For players that know only Harbor's format: the whole suite's exit status, where the agent worked.
# envfarm itself scores in a fresh sandbox, test by test.
cd /testbed || exit 1
mkdir -p /logs/verifier
[ -d /verifier/tests ] || sh "$(dirname "$0")/get_tests.sh" /verifier/tests || exit 1
rm -rf ./tests
cp -a /verifier/tests/. /testbed/
if python3 -m pytest -p no:cacheprovider --maxfail=0 -o junit_family=xunit1 --junitxml=/tmp/report --color=no -q; then echo 1; else echo 0; fi > /logs/verifier/reward.txt
