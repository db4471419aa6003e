#!/bin/sh
# The agent's programs run as nobody: what would tell them the answers is for root alone.
chmod -R go-rwx /tests
exec python3 -I -B /tests/checks.py
