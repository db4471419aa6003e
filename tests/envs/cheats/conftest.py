"""An arena for cheating agents: tiny repositories with one bug each, played and scored as the farm does it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from envfarm.envs.base import Reward, ScoreContext
from envfarm.envs.swe import SweEnvironment
from envfarm.orchestrator.settings import Settings
from envfarm.tasks.folder import load
from envfarm.tasks.images import TaskImages
from envfarm.tasks.spec import Task
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.sandboxes.base import Backend, Sandbox, SandboxSpec
from envfarm.toolbox.sandboxes.docker_images import DockerImages

from ..conftest import Place

OWNER = f"test-cheats-{os.getpid()}"
AT_ONCE = 4


@dataclass(frozen=True)
class Project:
    """A repository with a bug, as a task folder is made of it."""

    runner: str
    base: str  # image
    setup: str  # further lines of the Dockerfile, before the repository is copied
    warm: str  # and after it
    repository: Mapping[str, str]
    tests: Mapping[str, str]  # what the verifier brings
    solution: str
    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]

    def write(self, folder: Path) -> Path:
        """Write it as a task folder."""
        files = {f"environment/repository/{name}": text for name, text in self.repository.items()}
        files |= {f"tests/files/{name}": text for name, text in self.tests.items()}
        files["environment/Dockerfile"] = (
            f"FROM {self.base}\n{self.setup}\nWORKDIR /testbed\nCOPY repository/ /testbed/\n{self.warm}\n"
            "RUN git init -q && git add -A && git -c user.name=a -c user.email=a@b commit -qm release\n"
        )
        files["tests/Dockerfile"] = (
            "ARG BASE\nFROM $BASE\nUSER root\nCOPY files/ /verifier/tests/\nRUN chmod -R go-rwx /verifier\n"
        )
        files["tests/test.sh"] = "#!/bin/sh\nexit 1\n"
        files["tests/ids.json"] = json.dumps({"fail_to_pass": self.fail_to_pass, "pass_to_pass": self.pass_to_pass})
        files["instruction.md"] = "There is a bug.\n"
        files["solution/solve.sh"] = self.solution
        files["task.toml"] = f'[verifier]\ntimeout_sec = 120\n[envfarm]\nkind = "swe"\nrunner = "{self.runner}"\n'
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return folder


@dataclass
class Played:
    """What an agent got."""

    reward: Reward
    artifacts: Artifacts
    sandbox_output: str = ""

    def evidence(self, name: str) -> str:
        return self.artifacts.get(self.reward.evidence[name]).decode(errors="replace")

    @property
    def verdict(self) -> dict[str, Any]:
        verdict: dict[str, Any] = json.loads(self.evidence("verdict"))
        return verdict

    @property
    def planted(self) -> list[str]:
        """The ids of the canaries and of all versions of the tests in line-ups."""
        canaries = [test for name, tests in self.verdict.items() if name.startswith("canaries") for test in tests]
        lineups = [lineup for run in self.verdict["lineups"] for lineup in run]
        return [*canaries, *(test for lineup in lineups for test in (lineup["true"], *lineup["decoys"]))]


@dataclass
class Arena:
    """Plays agents that are a shell script each."""

    task: Task
    images: TaskImages
    artifacts: Artifacts
    environment: SweEnvironment
    backend: Backend
    specs: list[SandboxSpec] = field(default_factory=list)

    async def play(self, script: str, files: Mapping[str, str | bytes] | None = None) -> Played:
        """Start an episode, let the agent write files and run a script as root, collect and score."""
        spec = await self.environment.spec(self.task, self.images)
        sandbox = await self.backend.start(spec, owner=OWNER, lease="agent")
        try:
            await self.environment.start(self.task, sandbox)
            for path, text in (files or {}).items():
                await sandbox.write(f"/testbed/{path}", text.encode() if isinstance(text, str) else text)
            result = await sandbox.run(script, session="agent", cwd="/testbed", timeout=60)
            context = ScoreContext(sandbox, self.fresh, self.images, self.artifacts)
            context.saved = await self.environment.collect(self.task, context)
        finally:
            await sandbox.close()
        context.sandbox = None
        reward = await self.environment.score(self.task, context)
        return Played(reward, self.artifacts, (result.stdout + result.stderr).decode(errors="replace"))

    @asynccontextmanager
    async def fresh(self, spec: SandboxSpec) -> AsyncIterator[Sandbox]:
        self.specs.append(spec)
        sandbox = await self.backend.start(spec, owner=OWNER, lease="scoring")
        try:
            yield sandbox
        finally:
            await sandbox.close()


class Games:
    """Games of one module, all begun at once and a few played at a time, since most of one is waiting."""

    def __init__(self, arena: Arena, scripts: Mapping[str, str]) -> None:
        self.arena = arena
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks = {name: asyncio.create_task(self._play(script)) for name, script in scripts.items()}

    async def __call__(self, name: str) -> Played:
        """What the agent of that name got."""
        return await asyncio.shield(self._tasks[name])

    async def _play(self, script: str) -> Played:
        async with self._places:
            return await self.arena.play(script)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs the tests of a module with PROJECTS for each of them."""
    if "games" in metafunc.fixturenames and hasattr(metafunc.module, "PROJECTS"):
        metafunc.parametrize("games", list(metafunc.module.PROJECTS), indirect=True, scope="module")


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Task folders, artefacts and build logs of the session."""
    return tmp_path_factory.mktemp("builds")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def games(
    place: Place, request: pytest.FixtureRequest, image: Callable[[str], str], builds: Path
) -> AsyncIterator[Games]:
    """The games of the test module: agents by name in AGENTS, on the repository that PROJECT describes.

    With PROJECTS, by name, its tests run for each of them, with the agents that AGENTS has for it. One may be a task's
    folder.
    """
    kind = getattr(request, "param", None)
    about = request.module.PROJECTS[kind] if kind else request.module.PROJECT
    folder = about if isinstance(about, Path) else builds / request.module.__name__.rpartition(".")[2] / about["runner"]
    bases = ["base", "go"] if about is folder else [about["base"].removeprefix("envfarm/").removesuffix(":1")]
    for base in bases:
        await asyncio.to_thread(image, base)
    if about is not folder:
        Project(**about).write(folder)
    settings = Settings()
    builder = DockerImages(remap=settings.base_images, ca_bundle=settings.trusted, logs=builds / "logs")
    backend = place.backend()
    arena = Arena(
        load(folder), TaskImages(place.builder(builder)), Artifacts(builds / "artifacts"), SweEnvironment(), backend
    )
    await arena.images.verifier(arena.task)
    games = Games(arena, request.module.AGENTS[kind] if kind else request.module.AGENTS)
    yield games
    await games.close()
    await backend.reap(OWNER, keep=())
    await backend.close()
