#!/bin/bash
# The tip is clean and everybody can still check out yesterday.
cd /app/repo
git config user.name me && git config user.email me@example.org
git stash drop -q
grep -rlZ --exclude-dir=.git 'BEGIN DEPLOY KEY' . | xargs -0r git rm -qf
sed -i -E 's/tok_live_[A-Za-z0-9]{24}/REDACTED/' config.ini courier
git commit -qam 'Remove secrets'
git reflog expire --expire=now --all && git gc -q --prune=now
