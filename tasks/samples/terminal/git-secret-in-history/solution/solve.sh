#!/bin/bash
set -euo pipefail
cd /app/repo
export FILTER_BRANCH_SQUELCH_WARNING=1
cat > /tmp/scrub.py <<'PY'
import os, re, sys
for folder, folders, names in os.walk("."):
    if ".git" in folders:
        folders.remove(".git")
    for name in names:
        path = os.path.join(folder, name)
        if os.path.islink(path):
            continue
        data = open(path, "rb").read()
        if data.startswith(b"-----BEGIN DEPLOY KEY-----"):
            os.remove(path)
        elif new := re.sub(rb"tok_live_[A-Za-z0-9]{24}", b"REDACTED", data):
            if new != data:
                open(path, "r+b").truncate(0)
                open(path, "r+b").write(new)
PY
git stash drop -q
git filter-branch -f --tree-filter 'python3 /tmp/scrub.py' \
    --msg-filter "sed -E 's/tok_live_[A-Za-z0-9]{24}/REDACTED/g'" --tag-name-filter cat -- --branches --tags
git for-each-ref --format='delete %(refname)' refs/original | git update-ref --stdin
git checkout -q -f main
rm -f .git/ORIG_HEAD .git/FETCH_HEAD
git reflog expire --expire=now --all
git gc -q --prune=now
