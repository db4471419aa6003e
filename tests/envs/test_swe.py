"""SWE scoring around the tests themselves: hostile trees, faults of the farm, tasks that cannot be scored."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from envfarm.envs import trees
from envfarm.envs.base import ScoreContext
from envfarm.envs.changes import Changes, Entry, pack, unpack
from envfarm.envs.swe import SweEnvironment
from envfarm.tasks.spec import FarmTable, Task, TaskConfig
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.errors import SandboxError, SandboxLost, SandboxSilent, TaskError

OWNER = f"test-swe-{os.getpid()}"
TASK = Task(
    id="swe/x",
    path=Path("/tasks/x"),
    instruction="Fix it.\n",
    config=TaskConfig(
        envfarm=FarmTable(
            kind="swe",
            runner="pytest",
            repository="/usr/lib/python3/dist-packages",
            fail_to_pass=("tests/test_a.py::t",),
        )
    ),
    digest="d",
)


class Images:
    """The same image for the agent and the verifier."""

    def __init__(self, image: str) -> None:
        self.image = image

    async def agent(self, task: Task) -> str:
        return self.image

    async def verifier(self, task: Task) -> str:
        return self.image


@pytest.fixture
async def context(place, docker_base, tmp_path) -> AsyncIterator[ScoreContext]:
    backend = place.backend()

    @asynccontextmanager
    async def fresh(spec):
        sandbox = await backend.start(spec, owner=OWNER, lease="fresh")
        try:
            yield sandbox
        finally:
            await sandbox.close()

    images = Images(place.image(docker_base))
    sandbox = await backend.start(await SweEnvironment().spec(TASK, images), owner=OWNER, lease="agent")
    yield ScoreContext(sandbox, fresh, images, Artifacts(tmp_path))
    await sandbox.close()
    await backend.reap(OWNER, keep=())
    await backend.close()


async def changes(context: ScoreContext) -> Changes:
    saved = await SweEnvironment().collect(TASK, context)
    return unpack(context.artifacts.get(saved["changes"]))


async def test_hostile_trees_are_taken_as_data(context):
    repository = TASK.config.envfarm.repository
    await context.sandbox.run(
        "mkfifo pipe; ln -s /etc/shadow out; ln -s . loop; ln /etc/passwd hard; "
        "printf x > \"$(printf 'new\\nline')\"; printf x > \"$(printf '\\351')\"; mkdir -p .git/hooks; "
        "printf '#!/bin/sh\\ntouch /tmp/ran\\n' > .git/hooks/post-checkout; printf y > plain.py; "
        "(while :; do date > busy.py; done) > /dev/null 2>&1 &",
        cwd=repository,
        session="agent",
    )
    found = await asyncio.wait_for(changes(context), 120)
    assert found.problem is None
    assert found.written["plain.py"] == Entry("file", b"y")
    assert found.written["out"] == Entry("link", b"/etc/shadow")
    assert found.written["new\nline"] == Entry("file", b"x")
    assert found.written[b"\xe9".decode("utf-8", "surrogateescape")] == Entry("file", b"x")
    assert not any(path.startswith(".git/") for path in found.written)
    assert "pipe" in found.left_out


async def test_a_tar_that_hangs_is_a_silent_sandbox(context, monkeypatch):
    env = SweEnvironment()
    await env.collect(TASK, context)  # reads the untouched tree, which then need not be read in so short a time
    monkeypatch.setattr(trees, "_TIMEOUT", 2.0)
    await context.sandbox.run(
        "rm /bin/tar; printf '#!/bin/sh\\nsleep 1000\\n' > /bin/tar; chmod +x /bin/tar", user="root"
    )
    with pytest.raises(SandboxSilent):
        await env.collect(TASK, context)


async def test_a_file_of_holes_is_left_out(context):
    await context.sandbox.run(f"truncate -s 100G {TASK.config.envfarm.repository}/huge", user="root")
    assert (await changes(context)).left_out == {"huge": "a sparse file"}


async def test_a_tree_without_end_is_a_problem_of_the_agent(context, monkeypatch):
    monkeypatch.setattr(trees, "MAX_TREE", 10 << 20)
    await context.sandbox.run(f"head -c 20M /dev/urandom > {TASK.config.envfarm.repository}/large", user="root")
    assert (await changes(context)).problem == "the repository is larger than 10 MiB"


async def test_a_tar_that_lies_is_a_problem_of_the_agent(context):
    await context.sandbox.run("printf '#!/bin/sh\\nhead -c 4000 /dev/urandom\\n' > $(command -v tar)", user="root")
    found = await changes(context)
    assert "no repository that can be read" in found.problem
    context.saved = {"changes": context.artifacts.put(pack(found))}
    reward = await SweEnvironment().score(TASK, context)
    assert reward.value == 0.0
    assert reward.reason == found.problem


async def test_a_repository_that_is_gone_is_a_problem_of_the_agent(context):
    await context.sandbox.run(f"rm -rf {TASK.config.envfarm.repository}", user="root")
    assert "no repository" in (await changes(context)).problem


async def test_the_pristine_tree_is_read_once_and_in_a_sandbox_of_its_own(context):
    whole, begun = context.fresh, []

    @asynccontextmanager
    async def counting(spec):
        begun.append(spec)
        async with whole(spec) as sandbox:
            yield sandbox

    context.fresh = counting
    environment = SweEnvironment()
    context.saved = await environment.collect(TASK, context)
    assert len(begun) == 1
    await environment.collect(TASK, context)
    assert len(begun) == 1
    with suppress(SandboxError):  # there are no tests in that image
        await environment.score(TASK, context)
    assert len(begun) == 3  # the tests, and the same on the untouched code


async def test_a_pristine_tree_that_cannot_be_read_is_read_by_the_next_who_waits(context):
    whole, begun = context.fresh, []

    @asynccontextmanager
    async def failing_once(spec):
        begun.append(spec)
        if len(begun) == 1:
            raise SandboxError("no sandbox")
        async with whole(spec) as sandbox:
            yield sandbox

    context.fresh = failing_once
    environment = SweEnvironment()
    waiting = [environment.collect(TASK, context) for _ in range(3)]
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in ended] == [SandboxError, dict, dict]
    assert len(begun) == 2


async def test_without_its_sandbox_the_farm_cannot_tell(context):
    sandbox, context.sandbox = context.sandbox, None
    with pytest.raises(SandboxLost, match="its changes with it"):
        await SweEnvironment().collect(TASK, context)
    context.sandbox = sandbox


async def test_a_sandbox_that_dies_while_scoring_is_a_fault_of_the_farm(context):
    context.saved = {"changes": context.artifacts.put(pack(Changes()))}
    whole = context.fresh

    @asynccontextmanager
    async def dying(spec):
        async with whole(spec) as sandbox:
            await sandbox.close()
            yield sandbox

    context.fresh = dying
    with pytest.raises(SandboxError):
        await SweEnvironment().score(TASK, context)


@pytest.mark.parametrize(
    ("python", "why"),
    [("sleep 60", "did not end within 2 s"), ("exit 0", "left no report")],
)
async def test_tests_that_cannot_be_run_on_the_untouched_code_either_are_a_fault_of_the_farm(context, python, why):
    context.saved = {"changes": context.artifacts.put(pack(Changes(written={"a.py": Entry("file", b"a = 1\n")})))}
    verifier = TASK.config.verifier.model_copy(update={"timeout_sec": 2})
    task = TASK.model_copy(update={"config": TASK.config.model_copy(update={"verifier": verifier})})
    whole = context.fresh

    @asynccontextmanager
    async def slow(spec):
        async with whole(spec) as sandbox:
            await sandbox.write("/usr/local/bin/python3", f"#!/bin/sh\n{python}\n".encode())
            await sandbox.run("chmod 755 /usr/local/bin/python3", user="root")
            yield sandbox

    context.fresh = slow
    with pytest.raises(SandboxError, match=f"untouched code either: the tests {why}"):
        await SweEnvironment().score(task, context)


async def test_an_image_without_the_repository_is_a_fault_of_the_farm(context):
    farm = TASK.config.envfarm.model_copy(update={"repository": "/nowhere"})
    task = TASK.model_copy(update={"config": TASK.config.model_copy(update={"envfarm": farm})})
    with pytest.raises(SandboxError, match="has no repository"):
        await SweEnvironment().collect(task, context)


@pytest.mark.parametrize(
    ("update", "why"),
    [
        ({"fail_to_pass": ()}, "names no test"),
        ({"fail_to_pass": ("src/a.py::test_b",)}, "in a file that the agent may write"),
        ({"runner": "nose"}, "is none of pytest"),
    ],
)
async def test_a_task_that_cannot_be_scored_is_an_error_and_no_reward(context, update, why):
    farm = TASK.config.envfarm.model_copy(update=update)
    task = TASK.model_copy(update={"config": TASK.config.model_copy(update={"envfarm": farm})})
    context.saved = {"changes": context.artifacts.put(pack(Changes()))}
    with pytest.raises(TaskError, match=why):
        await SweEnvironment().score(task, context)


def test_the_model_reads_where_the_repository_lies_and_gets_three_tools():
    system, user = SweEnvironment().messages(TASK)
    assert (system.role, user.role) == ("system", "user")
    assert user.content == "The repository is in /usr/lib/python3/dist-packages.\n\nFix it."
    assert [tool.name for tool in SweEnvironment().tools(TASK)] == ["bash", "str_replace", "finish"]
