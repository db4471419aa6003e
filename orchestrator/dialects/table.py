"""Every dialect: the routes that it adds, by the name that the setting `dialects` calls it."""

from __future__ import annotations

from collections.abc import Mapping

from envfarm.orchestrator.dialects import mcp
from envfarm.orchestrator.http.boundary import Route

DIALECTS: Mapping[str, tuple[Route, ...]] = {"mcp": mcp.ROUTES}
