"""`envfarm rollout`: a scripted model behind a real endpoint plays tasks in real sandboxes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ...toolbox.chat_server import Asked, ChatServer, Says, call, chat_server

TEST = """ok=0; [ "$(cat /srv/answer)" = "$(cat /tests/wanted)" ] && ok=1
echo $ok > /logs/verifier/reward.txt
"""


@pytest.fixture
def tasks(cli: Any, docker_base: str) -> Path:
    """Two tasks; the model knows the answer of the first."""
    cli.env.update(ENVFARM_BACKEND="docker", ENVFARM_SAMPLES="false", ENVFARM_TASKS="tasks", ENVFARM_WARM="0")
    for name, wanted in (("known", "42"), ("unknown", "77")):
        folder = cli.folder / "tasks" / "sums" / name
        (folder / "tests").mkdir(parents=True)
        (folder / "task.toml").write_text(f'[environment]\ndocker_image = "{docker_base}"\nworkdir = "/srv"\n')
        (folder / "instruction.md").write_text("Write the answer to answer.\n")
        (folder / "tests" / "test.sh").write_text(TEST)
        (folder / "tests" / "wanted").write_text(wanted + "\n")
    return Path(cli.folder)


def clever(asked: Asked) -> Says:
    """Write 42, look at it, and finish."""
    done = [message["content"] for message in asked["messages"] if message["role"] == "tool"]
    if not done:
        return call("bash", command="echo 42 > answer")
    return call("bash", command="cat answer") if len(done) == 1 else call("finish")


def in_words(asked: Asked) -> Says:
    assert "tools" not in asked
    done = [one for one in asked["messages"] if one["role"] == "user" and one["content"].startswith("bash:")]
    return Says("It is 42.\n```bash\necho 42 > answer\n```" if not done else "Done.\n```finish\n42\n```")


async def rollout(cli: Any, server: ChatServer, *more: str, code: int = 0) -> Any:
    args = ("rollout", "sums", "--model", server.url, "--name", "tiny", "--json", *more)
    done = await asyncio.to_thread(lambda: cli(*args, code=code))
    return json.loads(done.stdout)[0] if code == 0 else done


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "rollout.jsonl").read_text().splitlines()]


async def test_tasks_are_played_kept_and_summed_up(cli: Any, tasks: Path) -> None:
    async with chat_server() as server:
        server.script = [Says(status=429, headers={"Retry-After": "0"}), clever]
        row = await rollout(cli, server, "-n", "2")
        assert (row["tasks"], row["scored"], row["pass@1"], row["pass@2"]) == (2, 4, 0.5, 0.5)
        assert row["tokens"] == 4 * 3 * 110
        kept = {(one["task"], one["attempt"]): one for one in lines(tasks)}
        first = kept["sums/known", 0]
        assert (first["value"], first["passed"], first["ended"], first["turns"], first["calls"]) == (
            1.0,
            True,
            "finish",
            3,
            3,
        )
        assert [one["role"] for one in first["messages"]] == ["user", *["assistant", "tool"] * 3]
        assert first["messages"][4]["content"] == "42\n"
        asked = len(server.asked)
        again = await rollout(cli, server, "-n", "2")
        assert (again["pass@1"], len(server.asked)) == (0.5, asked)  # nothing is played twice
        more = await rollout(cli, server, "-n", "3")
        assert (more["scored"], len(lines(tasks))) == (6, 6)


async def test_a_model_without_tool_calls_writes_blocks(cli: Any, tasks: Path) -> None:
    async with chat_server() as server:
        server.script = [in_words]
        row = await rollout(cli, server, "--protocol", "text")
    assert (row["pass@1"], row["scored"]) == (0.5, 2)


async def test_a_model_that_fails_earns_no_reward_and_is_played_again(cli: Any, tasks: Path) -> None:
    async with chat_server() as server:
        server.script = [Says("no such model", status=404)]
        row = await rollout(cli, server)
        assert (row["scored"], row["no reward"], row["pass@1"]) == (0, 2, None)
        assert {(one["status"], one["value"]) for one in lines(tasks)} == {("model", None)}
        server.script = [clever]
        assert (await rollout(cli, server))["scored"] == 2


async def test_a_model_that_only_talks_is_taken_to_be_done(cli: Any, tasks: Path) -> None:
    async with chat_server() as server:
        server.script = [Says("I think that it is 42.")]
        row = await rollout(cli, server)
    assert (row["pass@1"], row["no reward"]) == (0.0, 0)
    assert {one["ended"] for one in lines(tasks)} == {"idle"}
    assert "call finish" in str(lines(tasks)[0]["messages"])


async def test_a_full_window_ends_the_attempt_and_it_is_scored(cli: Any, tasks: Path) -> None:
    def full(asked: Asked) -> Says:
        if len(asked["messages"]) == 1:
            return call("bash", command="echo 42 > answer")
        return Says(status=400, body=b'{"error": {"message": "maximum context length is 4096 tokens"}}')

    async with chat_server() as server:
        server.script = [full]
        row = await rollout(cli, server)
    assert row["pass@1"] == 0.5
    assert {one["ended"] for one in lines(tasks)} == {"context"}


async def test_wrong_input_is_told_in_a_line(cli: Any, tasks: Path) -> None:
    def error(*args: str) -> str:
        return str(cli.error("rollout", *args, code=2))

    url = ("--model", "http://127.0.0.1:1/v1", "--name", "m")
    assert "did you mean 'sums/known'" in await asyncio.to_thread(error, "sums/knwn", *url)
    assert "is no URL" in await asyncio.to_thread(error, "sums", "--model", "gpt", "--name", "m")
    (tasks / "rollout.jsonl").write_text("x\n")
    assert "no trajectory" in await asyncio.to_thread(error, "sums", *url)
