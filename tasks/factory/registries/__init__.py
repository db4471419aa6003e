"""Package registries: where published source releases come from."""

from __future__ import annotations

from envfarm.tasks.factory.registries.base import Registry
from envfarm.tasks.factory.registries.crates import Crates
from envfarm.tasks.factory.registries.go import Go
from envfarm.tasks.factory.registries.npm import Npm
from envfarm.tasks.factory.registries.pypi import PyPI
from envfarm.toolbox.errors import BadRequest

REGISTRIES = ("pypi", "go", "crates", "npm")


def package(reference: str) -> tuple[Registry, str]:
    """The registry and the name in `pypi:sqlparse`. Raises BadRequest."""
    prefix, _, name = reference.partition(":")
    registries: dict[str, type[Registry]] = {"pypi": PyPI, "go": Go, "crates": Crates, "npm": Npm}
    if prefix not in registries or not name:
        raise BadRequest(f"{reference!r} is not a package; write it as {', '.join(f'{r}:NAME' for r in REGISTRIES)}")
    return registries[prefix](), name
