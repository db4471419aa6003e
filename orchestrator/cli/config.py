"""`envfarm config`: what is in force, and where each value came from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from envfarm.orchestrator.cli.flags import with_settings
from envfarm.orchestrator.cli.output import emit_json, table
from envfarm.orchestrator.settings import Loaded


@with_settings()
def config(
    loaded: Loaded, json: Annotated[bool, typer.Option("--json", help="Print an object, one entry a setting.")] = False
) -> None:
    """Print the settings in force and where each came from."""
    values: dict[str, Any] = loaded.settings.model_dump(mode="json")  # secrets stay masked
    if json:
        emit_json({key: {"value": value, "from": loaded.origins[key]} for key, value in values.items()})
        return
    rows = [{"setting": key, "value": _shown(value), "from": loaded.origins[key]} for key, value in values.items()]
    table(rows, ["setting", "value", "from"])


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
