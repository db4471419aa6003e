#!/bin/sh
# Forgets that secrets stay secret in a public folder below them.
sed 's/if kind != "secrets" and name in MODES/if name in MODES/' "$(dirname "$0")/tidy-modes.py" > /app/tidy-modes
chmod 755 /app/tidy-modes
