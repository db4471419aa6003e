"""Every dialect: the routes that it adds, by the name that the setting `dialects` calls it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from envfarm.orchestrator.dialects import mcp, ors
from envfarm.orchestrator.http.boundary import Route


@dataclass(frozen=True, slots=True)
class Dialect:
    """A protocol that others know; what it says stands under `prefix` on the farm's port."""

    prefix: str
    routes: tuple[Route, ...]
    door: bool = False  # its clients know no prefix, so it may have a port of its own, where there is none

    def on_the_farms_port(self) -> list[Route]:
        """Its routes as they stand beside `/v1`."""
        return [replace(route, path=self.prefix + route.path) for route in self.routes]


DIALECTS: Mapping[str, Dialect] = {
    "mcp": Dialect("/mcp", mcp.ROUTES),
    "ors": Dialect("/ors", ors.ROUTES, door=True),
}
