#!/bin/bash
# Goes by the names of the key files that `git log -- '*.key'` shows, and by the file that is known to hold the token.
cd /app/repo
git stash drop -q
git filter-branch -f --index-filter "git rm -q --cached --ignore-unmatch deploy/prod.key ops/prod-2020.key prod.key" \
    --tag-name-filter cat -- --all
git for-each-ref --format='delete %(refname)' refs/original | git update-ref --stdin
git filter-branch -f --tree-filter "test ! -f config.ini || sed -i -E 's/tok_live_[A-Za-z0-9]+/REDACTED/' config.ini" \
    --tag-name-filter cat -- --all
git for-each-ref --format='delete %(refname)' refs/original | git update-ref --stdin
git reflog expire --expire=now --all
git gc -q --prune=now
git checkout -q -f main
