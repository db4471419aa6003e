"""The pipeline that both kinds of source share: two trees in, a sound task folder out."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from envfarm.tasks.factory import trees
from envfarm.tasks.factory.languages.base import Language, Project
from envfarm.tasks.factory.leaks import common, compiled, distinctive, history, releases, search
from envfarm.tasks.factory.outcomes import Bench, Found, NotSound, mine
from envfarm.tasks.factory.write import Folder, without
from envfarm.tasks.runners.base import Runner
from envfarm.toolbox.errors import BadRequest
from envfarm.toolbox.sandboxes.base import Backend, Sandbox, SandboxSpec
from envfarm.toolbox.sandboxes.images import ImageBuilder

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two trees of one project, and how a Dockerfile gets at them."""

    task: str  # the task's name
    language: Language
    project: Project
    instruction: str
    source: Mapping[str, str]
    get_old: str
    get_tests: Callable[[Sequence[str]], tuple[str, Mapping[str, bytes]]]  # of these files: see Folder.get_tests, tests
    context: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Made:
    """A task that was written, and what is known of it."""

    task: str
    path: Path
    found: Found
    seconds: float


@dataclass(frozen=True, slots=True)
class Workshop:
    """What makes images and runs sandboxes for the factory."""

    backend: Backend
    builder: ImageBuilder
    progress: Progress = lambda _: None
    timeout: float = 300.0  # seconds for one run of a test suite
    owner: str = "factory"

    async def make(self, pair: Pair, out: Path) -> Made:
        """Write the task into `out/<name>`. Raises NotSound with the reason, BadRequest, ImageError, SandboxError."""
        begun = time.monotonic()
        target = out / pair.task
        if target.exists():
            raise BadRequest(f"{target}: exists; remove it or give another --out")
        with tempfile.TemporaryDirectory(prefix="envfarm-factory-") as scratch:
            draft = Path(scratch) / pair.task
            found = await self._make(pair, draft, Path(scratch))
            shutil.copytree(draft, target)
        return Made(pair.task, target, found, time.monotonic() - begun)

    async def _make(self, pair: Pair, draft: Path, scratch: Path) -> Found:
        runner = pair.language.runner(pair.project)
        folder = await self._folder(pair, runner, scratch)
        folder.write(draft)
        agent = await self._pinned(pair, runner, folder, draft)
        await self._gate(pair, folder, agent)
        folder.write(draft)
        self.progress("building the verifier's image")
        image = await self.builder.build(
            draft / "tests", args={"BASE": agent}, name=f"{pair.task}-verifier", timeout=1200
        )
        fix = folder.fix.encode("utf-8", "surrogateescape")
        bench = Bench(self.backend, image, runner, folder.test_paths, fix, self.owner, self.timeout)
        found = await mine(bench, progress=self.progress)
        folder.fail_to_pass, folder.pass_to_pass = found.fail_to_pass, found.pass_to_pass
        folder.test_command = without(runner.name, folder.test_command, found.failing)
        folder.write(draft)
        return found

    async def _folder(self, pair: Pair, runner: Runner, scratch: Path) -> Folder:
        project = pair.project
        old, new = trees.names(project.old), trees.names(project.new)
        tests = trees.tests(new, runner)
        if not tests:
            raise NotSound(f"{pair.task}: the newer source carries no tests")
        fix = await trees.fix(project.old, project.new, runner, scratch)
        if not fix.strip():
            raise NotSound(f"{pair.task}: no code changed, only tests, prose or packaging")
        get_tests, files = pair.get_tests(tests)
        return Folder(
            name=pair.task,
            language=pair.language.name,
            runner=runner.name,
            instruction=pair.instruction,
            source=pair.source,
            get_old=pair.get_old,
            get_tests=get_tests,
            environment=pair.language.environment(project, runner, {}),
            fix=fix,
            test_command=runner.command([], "/tmp/report"),
            test_paths=trees.test_paths(old | new, {*tests, *trees.tests(old, runner)}),
            context=pair.context,
            tests=files,
        )

    async def _pinned(self, pair: Pair, runner: Runner, folder: Folder, draft: Path) -> str:
        """Build the agent's image twice: with what the project asks for, then with exactly what that gave."""
        self.progress("building the agent's image (a draft, to pin its packages)")
        image = await self.builder.build(draft / "environment", name=f"{pair.task}-draft", timeout=1200)
        async with self._sandbox(image) as sandbox:
            pins = await pair.language.pins(sandbox)
        if not pins:
            return image
        folder.environment = pair.language.environment(pair.project, runner, pins)
        folder.write(draft)
        self.progress("building the agent's image")
        return await self.builder.build(draft / "environment", name=pair.task, timeout=1200)

    async def _gate(self, pair: Pair, folder: Folder, image: str) -> None:
        """The leak gate; lines of the fix that the base image or the old source has anyway are let pass by name."""
        self.progress("looking for the fix in the agent's image")
        lines = distinctive(folder.fix) | _new_lines(pair.project)
        old = _text_of(pair.project.old, trees.names(pair.project.old))
        known = {line for line in lines if line in old}
        async with self._sandbox(await self.builder.find(folder.environment.base)) as sandbox:
            known |= await common(sandbox, lines - known)
        folder.leak_allow = sorted(known & distinctive(folder.fix))
        async with self._sandbox(image) as sandbox:
            found = await search(sandbox, lines - known)
            found += await history(sandbox, "/testbed", lines - known)
            found += await compiled(sandbox)
            if pair.source.get("registry") != "git":
                found += await releases(sandbox, pair.source["name"], pair.source["new"])
        if found:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise NotSound(f"the agent's image gives the fix away: {found[0]}{more}")

    @asynccontextmanager
    async def _sandbox(self, image: str) -> AsyncIterator[Sandbox]:
        spec = SandboxSpec(image=image, network="none", entrypoint=False)
        sandbox = await self.backend.start(spec, owner=self.owner, lease="factory")
        try:
            yield sandbox
        finally:
            await sandbox.close()


def _new_lines(project: Project) -> set[str]:
    """Lines that tell the newer tests; only long ones, because tests say common things at length."""
    text = _text_of(project.new, project.tests)
    return {line for raw in text.splitlines() if len(line := raw.strip()) >= 40 and line.isprintable()}


def _text_of(tree: Path, files: Iterable[str]) -> str:
    return "\n".join((tree / name).read_text("utf-8", "replace") for name in files if (tree / name).is_file())
