"""Node: what the package and its tests require, in /node_modules, so that the repository itself stays clean."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from envfarm.tasks.factory.languages.base import Environment, Project, first, shell
from envfarm.tasks.runners.base import Runner
from envfarm.tasks.runners.node import Jest, Mocha, Tape
from envfarm.tasks.runners.node import Node as NodeTest
from envfarm.toolbox.sandboxes.base import Sandbox

_REQUIRE = re.compile(r"""(?:\brequire\(|\bfrom\s|\bimport\s*\(?)\s*['"]((?:@[\w.-]+/)?[\w.-]+)""")
_RUNNERS: dict[str, type[Runner]] = {"mocha": Mocha, "jest": Jest, "tape": Tape}


class Node:
    """npm, with a lock file."""

    name = "node"
    marks = frozenset({"package.json"})

    def runner(self, project: Project) -> Runner:
        """What the package's test scripts name; node's own runner when that is nothing we know."""
        for data in (_package(project, new=True), _package(project, new=False)):
            scripts = " ".join(str(text) for name, text in data.get("scripts", {}).items() if "test" in name)
            for name, kind in _RUNNERS.items():
                if re.search(rf"\b{name}\b", scripts):
                    return kind()
        return NodeTest()

    def environment(self, project: Project, runner: Runner, pins: Mapping[str, bytes]) -> Environment:
        """Of the development dependencies only the runner and what the test files require."""
        wanted = {"name": "testbed", "private": True, "dependencies": _dependencies(project, runner)}
        files = {"package.json": json.dumps(wanted, indent=2).encode() + b"\n", **pins}
        npm = (
            f"npm {'ci' if pins else 'install'} --ignore-scripts --no-audit --no-fund --cache /tmp/npm --loglevel=error"
        )
        steps = "\n".join(
            (
                f"COPY {' '.join(sorted(files))} /opt/packages/",
                shell(
                    "cd /opt/packages",
                    npm,
                    "mkdir -p node_modules",
                    "mv node_modules /node_modules",
                    "rm -rf /tmp/npm /root/.npm",
                ),
                "ENV PATH=/node_modules/.bin:$PATH",
            )
        )
        return Environment("node:18-bookworm", steps, files)

    async def pins(self, sandbox: Sandbox) -> Mapping[str, bytes]:
        """npm's lock file."""
        return {"package-lock.json": await sandbox.read("/opt/packages/package-lock.json")}


def _package(project: Project, *, new: bool) -> dict[str, Any]:
    data = json.loads(first(project.new if new else project.old, ["package.json"]) or "{}")
    return data if isinstance(data, dict) else {}


def _dependencies(project: Project, runner: Runner) -> dict[str, str]:
    used = {runner.name}
    for name in project.tests:
        if re.search(r"\.[cm]?[jt]sx?$", name):
            used |= set(_REQUIRE.findall((project.new / name).read_text("utf-8", "replace")))
    old, new = _package(project, new=False), _package(project, new=True)
    development = {**new.get("devDependencies", {}), **old.get("devDependencies", {})}
    wanted = {name: version for name, version in development.items() if name in used}
    for extra in project.extra:
        name, _, version = extra[1:].partition("@")
        wanted[extra[0] + name] = version or "*"
    return dict(sorted({**wanted, **old.get("peerDependencies", {}), **old.get("dependencies", {})}.items()))
