#!/usr/bin/env bash
# Runs the tests, three files at a time. A few that fail there are run again by themselves, and named: what only fails beside
# others, on a machine that is too busy, is no reason to refuse a change, and must not be forgotten either.
#   test.sh [PYTEST OPTIONS…]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
most=5

pytest() { "$root/.venv/bin/python" -m pytest "$@"; }

cd "$root"
[[ " $* " = *" -m "* ]] || say "left out: tests that take long (make test-soak) or need large trainers (make test-trainers)"
code=0
pytest -n 3 --dist loadfile --durations 20 "$@" || code=$?
[ "$code" = 1 ] || exit "$code"
failed=$("$root/.venv/bin/python" -c 'import json; print(*json.load(open(".pytest_cache/v/cache/lastfailed")), sep="\n")')
count=$(wc -l <<<"$failed")
[ "$count" -le "$most" ] || die "$count tests failed"
say "failed beside others, and run again alone:"
sed 's/^/  /' <<<"$failed" >&2
pytest --last-failed --last-failed-no-failures none "$@"
say "these $count passed alone: look why they fail on a busy machine"
