"""`envfarm doctor`: what is there, what is missing, and how to fix it."""

from __future__ import annotations

from typing import Annotated

import typer

from envfarm.orchestrator.cli import UNABLE
from envfarm.orchestrator.cli.flags import with_settings
from envfarm.orchestrator.cli.output import table
from envfarm.orchestrator.settings import Loaded


@with_settings()
def doctor(
    loaded: Loaded, json: Annotated[bool, typer.Option("--json", help="Print a list, one object a check.")] = False
) -> None:
    """Check what the farm needs; exit code 3 when what it cannot do without is missing or unusable."""
    from envfarm.orchestrator.checks import examine

    findings = examine(loaded.settings)
    table([finding.row() for finding in findings], ["check", "state", "found", "fix"], as_json=json)
    if any(finding.fatal for finding in findings):
        raise typer.Exit(UNABLE)
