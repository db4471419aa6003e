"""Every dialect, by the name that the setting `dialects` calls it."""

from __future__ import annotations

from collections.abc import Mapping

from envfarm.orchestrator.dialects.base import Dialect
from envfarm.orchestrator.dialects.mcp import MCP

DIALECTS: Mapping[str, Dialect] = {one.name: one for one in (MCP,)}
