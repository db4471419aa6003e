"""`from-git`, on a repository that the test writes: the whole pipeline with real images and sandboxes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envfarm.tasks.factory.history import from_git, statement, words
from envfarm.tasks.factory.leaks import leaks
from envfarm.tasks.factory.make import Workshop
from envfarm.tasks.factory.outcomes import NotSound
from envfarm.tasks.folder import load
from envfarm.tasks.images import TaskImages
from envfarm.toolbox.errors import BadRequest
from envfarm.toolbox.sandboxes.base import SandboxSpec

Repository = Any  # the class in conftest.py, which tests cannot import

SETUP = "from setuptools import setup\nsetup(name='adder', version='1.0', py_modules=['adder'])\n"
WRONG = "def add(left, right):\n    return left - right\n\n\ndef twice(value):\n    return value * 2\n"
RIGHT = WRONG.replace("left - right", "sum([left, right])  # addition, not subtraction")
TESTS = "from adder import add, twice\n\n\ndef test_twice():\n    assert twice(4) == 8\n"
MORE = TESTS + "\n\ndef test_add():\n    assert add(2, 2) == 4\n"
BEGIN = {"setup.py": SETUP, "adder.py": WRONG, "tests/test_adder.py": TESTS}
FIXED = {"adder.py": RIGHT, "tests/test_adder.py": MORE}


async def test_makes_a_task_of_a_fix_commit(
    repository: Repository, workshop: Workshop, tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    repository.commit("Begin", BEGIN)
    fix = repository.commit("Fix", FIXED)
    issue = tmp_path / "issue.md"
    issue.write_text("2 and 2 give 0.\n\nThey should give 4.\n")
    done = await asyncio.to_thread(
        cli, "tasks", "from-git", str(repository.path), "HEAD", "--issue", str(issue), "--json"
    )
    assert done.returncode == 0, done.stderr

    answer = json.loads(done.stdout)
    assert answer["fail_to_pass"] == ["tests/test_adder.py::test_add"]
    assert answer["pass_to_pass"] == ["tests/test_adder.py::test_twice"]
    assert answer["seconds"] > 0
    task = load(Path(answer["path"]))
    table = task.config.envfarm
    assert (task.kind, table.language, table.runner, table.test_paths) == ("swe", "python", "pytest", ("tests",))
    assert list(table.fail_to_pass) == answer["fail_to_pass"]
    assert table.source.new == fix
    assert "> 2 and 2 give 0.\n>\n> They should give 4.\n" in task.instruction
    assert "sum([left, right])" in (task.path / "solution" / "fix.patch").read_text()
    with tarfile.open(task.path / "environment" / "source.tar.gz") as bundle:
        assert bundle.extractfile("adder.py").read() == WRONG.encode()  # type: ignore[union-attr]

    image = await TaskImages(workshop.builder).agent(task)
    sandbox = await workshop.backend.start(
        SandboxSpec(image=image, entrypoint=False), owner=workshop.owner, lease="test"
    )
    try:
        assert await leaks(task, sandbox) == []
        log = await sandbox.run("git -C /testbed log --all --oneline && git -C /testbed status --porcelain", cwd="/")
        assert len(log.stdout.splitlines()) == 1, log.stdout
    finally:
        await sandbox.close()


def test_a_commits_message_is_the_statement_without_an_issue() -> None:
    message = words("Add instead of subtracting\n\n2 and 2 gave 0.\n\nSigned-off-by: A B\nCo-authored-by: C D\n")
    assert "> Add instead of subtracting\n>\n> 2 and 2 gave 0.\n\n" in statement("adder", message)
    assert message.endswith("gave 0.")


async def test_clones_an_address(repository: Repository, workshop: Workshop, tmp_path: Path) -> None:
    repository.commit("Begin", BEGIN)
    fix = repository.commit("Only words", {"README.md": "An adder.\n"})
    with pytest.raises(NotSound, match="no code changed, only tests, prose or packaging"):
        await from_git(f"file://{repository.path}", fix, out=tmp_path / "out", workshop=workshop)


@pytest.mark.parametrize(
    ("where", "commit", "message"),
    [
        ("{}", "0123456789", r"^0123456789: no such commit in the repository; give its full id$"),
        ("{}", "HEAD", r"^HEAD: the first commit has no parent to start from; give a fix commit$"),
        ("{}/nowhere.git", "HEAD", r"^git clone: .*does not exist"),
        ("--upload-pack=x", "HEAD", r"neither a folder nor an address"),
    ],
)
async def test_says_what_is_wrong_in_one_line(
    repository: Repository, workshop: Workshop, tmp_path: Path, where: str, commit: str, message: str
) -> None:
    repository.commit("Begin", BEGIN)
    with pytest.raises(BadRequest, match=message) as caught:
        await from_git(where.format(repository.path), commit, out=tmp_path / "out", workshop=workshop)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


async def test_needs_a_language_that_it_knows(repository: Repository, workshop: Workshop, tmp_path: Path) -> None:
    repository.commit("Begin", {"adder.py": WRONG})
    repository.commit("Fix", {"adder.py": RIGHT})
    with pytest.raises(BadRequest, match=r"of no language that the factory knows: none of Cargo\.toml, go\.mod"):
        await from_git(str(repository.path), "HEAD", out=tmp_path / "out", workshop=workshop)
