"""`python -m envfarm.orchestrator.cli` is `envfarm`."""

from __future__ import annotations

from envfarm.orchestrator.cli import main

main()
