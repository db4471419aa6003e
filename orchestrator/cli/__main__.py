"""`python -m envfarm.orchestrator.cli` is `envfarm`."""

from __future__ import annotations

from envfarm.orchestrator.cli import main

if __name__ == "__main__":
    main()
