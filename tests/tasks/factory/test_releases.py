"""`from-releases`, from the real registries to a written task."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from envfarm.tasks.factory.make import Workshop
from envfarm.tasks.factory.outcomes import NotSound
from envfarm.tasks.factory.releases import from_releases, statement
from envfarm.tasks.folder import load
from envfarm.toolbox.errors import BadRequest

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_makes_a_task_of_two_releases(cli: Cli) -> None:
    done = cli("tasks", "from-releases", "pypi:parse", "1.20.1", "1.20.2", "--out", "made", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["task"] == "parse-1.20.2"
    assert "tests/test_parse.py::test_hyphen_inside_field_name" in answer["fail_to_pass"]
    assert len(answer["pass_to_pass"]) > 50
    assert answer["seconds"] > 0
    task = load(Path(answer["path"]))
    assert list(task.config.envfarm.fail_to_pass) == answer["fail_to_pass"]
    source = task.config.envfarm.source
    assert (source.registry, source.name, source.old, source.new) == ("pypi", "parse", "1.20.1", "1.20.2")
    assert source.licence is not None
    assert "MIT" in source.licence
    dockerfile = (task.path / "environment" / "Dockerfile").read_text()
    assert f"{source.model_extra['old_sha256']}  /tmp/release" in dockerfile  # type: ignore[index]
    assert source.model_extra["new_sha256"] not in dockerfile  # type: ignore[index]
    assert "pytest==" in (task.path / "environment" / "requirements.txt").read_text()
    assert "can now contain - character" in task.instruction


async def test_says_why_a_pair_makes_no_task(workshop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(NotSound, match=r"^mri-1\.1\.6: the newer source carries no tests$") as caught:
        await from_releases("npm:mri", "1.1.5", "1.1.6", out=tmp_path, workshop=workshop)
    assert "\n" not in str(caught.value)
    with pytest.raises(BadRequest, match="twice; give an older and a newer version"):
        await from_releases("npm:mri", "1.1.5", "1.1.5", out=tmp_path, workshop=workshop)
    assert os.listdir(tmp_path) == []


async def test_does_not_write_over_a_task(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "qs-6.12.2").mkdir()
    with pytest.raises(BadRequest, match=r"qs-6\.12\.2: exists; remove it or give another --out"):
        await from_releases("npm:qs", "6.12.1", "6.12.2", out=tmp_path, workshop=workshop)


def test_a_statement_says_when_the_changelog_does_not() -> None:
    assert "> Fix it.\n>\n> Now." in statement("adder", "1.0", "Fix it.\n\nNow.")
    assert "Its changelog does not say what was wrong" in statement("adder", "1.0", None)
