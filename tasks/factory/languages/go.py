"""Go: the module's own go.mod and go.sum pin everything; the build cache is warmed."""

from __future__ import annotations

import re
from collections.abc import Mapping

from envfarm.tasks.factory.languages.base import Environment, Project, first, shell
from envfarm.tasks.runners.base import Runner
from envfarm.tasks.runners.go import Go as GoTest
from envfarm.toolbox.sandboxes.base import Sandbox

_CACHE = "/var/cache/go-build"


class Go:
    """Go modules, in a cache that every user of the image can use."""

    name = "go"
    marks = frozenset({"go.mod"})

    def runner(self, project: Project) -> Runner:
        """`go test`."""
        return GoTest()

    def environment(self, project: Project, runner: Runner, pins: Mapping[str, bytes]) -> Environment:
        """A module from before go.mod gets one of its name."""
        prepare = [] if (project.old / "go.mod").exists() else [f"go mod init {project.name}", "go mod tidy"]
        extra = [f"go get -t {name}" for name in project.extra]
        steps = "\n".join(
            (
                f'ENV GOCACHE={_CACHE} GOMODCACHE=/go/pkg/mod GOTOOLCHAIN=local GOFLAGS="-mod=mod -buildvcs=false"',
                shell(
                    *prepare,
                    *extra,
                    "go mod download",
                    # A package that does not compile is the tests' business, not the image's.
                    "{ go test -vet=off -run '^$' ./... > /dev/null || true; }",
                    f"mkdir -p /go/pkg/mod {_CACHE}",
                    f"chmod -R a+rwX /go/pkg/mod {_CACHE}",
                ),
                "ENV GOPROXY=off",
            )
        )
        return Environment(f"golang:{_toolchain(first(project.old, ['go.mod']) or '')}-bookworm", steps)

    async def pins(self, sandbox: Sandbox) -> Mapping[str, bytes]:
        """Nothing: go.sum did it."""
        return {}


def _toolchain(go_mod: str) -> str:
    """1.19, or what a go.mod asks for beyond it."""
    match = re.search(r"^go\s+1\.(\d+)", go_mod, re.M)
    return f"1.{max(19, int(match[1]))}" if match else "1.19"


def module(go_mod: str) -> str | None:
    """The module path that a go.mod declares."""
    match = re.search(r"^module\s+\"?([^\s\"]+)", go_mod, re.M)
    return match[1] if match else None
