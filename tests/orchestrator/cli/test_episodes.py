"""`envfarm episodes`: over HTTP, whichever server it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envfarm.trainers.client import Client


@pytest.fixture(autouse=True)
def _a_task(cli: Any) -> None:
    """The one task that these tests play."""
    folder = cli.folder / "tasks/wait"
    for name, text in {
        "task.toml": "",
        "instruction.md": "Wait.",
        "environment/Dockerfile": "FROM debian:12\n",
        "tests/test.sh": "echo 1 > /logs/verifier/reward.txt\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    cli.env |= {"ENVFARM_TASKS": "tasks", "ENVFARM_SAMPLES": "false"}


async def _play(url: str, token: str | None = None) -> str:
    async with Client(url, token=token) as client:
        [episode] = await client.create("wait", run="mine")
        await client.step(episode["id"], [{"name": "bash", "arguments": {"command": "echo seen"}}])
        await client.cancel(episode["id"])
        return str(episode["id"])


def test_list_and_show_what_was_played(cli: Any, serve: Callable[..., str]) -> None:
    id = asyncio.run(_play(serve()))
    assert id in cli("episodes", "list").stdout
    [listed] = json.loads(cli("episodes", "list", "--run", "mine", "--state", "cancelled", "--json").stdout)
    assert (listed["id"], listed["task"]) == (id, "wait")
    assert json.loads(cli("episodes", "list", "--run", "other", "--json").stdout) == []
    shown = json.loads(cli("episodes", "show", id, "--json").stdout)
    assert shown["steps"][0]["calls"][0]["arguments"] == {"command": "echo seen"}
    text = cli("episodes", "show", id).stdout
    assert "echo seen" in text


def test_the_data_folder_is_read_when_no_server_runs(cli: Any) -> None:
    assert json.loads(cli("episodes", "list", "--json").stdout) == []
    assert (cli.folder / "envfarm-data/envfarm.db").exists()


def test_an_unknown_episode_is_one_line(cli: Any) -> None:
    assert "no episode 'nope'" in cli.error("episodes", "show", "nope", code=2)


def test_a_wrong_token_is_one_line(cli: Any, serve: Callable[..., str], tmp_path: Path) -> None:
    url = serve(ENVFARM_TOKENS="right")
    assert cli("episodes", "list", "--url", url, ENVFARM_TOKEN="right")
    error = cli.error("episodes", "list", "--url", url, code=2, ENVFARM_TOKEN="wrong")
    assert "the token is not known" in error
    assert "ENVFARM_TOKEN" in cli.error("episodes", "list", "--url", url, code=2)


def test_no_server_at_the_url_is_one_line(cli: Any) -> None:
    assert "no server answers" in cli.error("episodes", "list", "--url", "http://127.0.0.1:1", code=3)
