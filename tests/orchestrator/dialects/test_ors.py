"""The Open Reward Standard: `openreward` from PyPI plays real tasks; broken streams and restarts run nothing twice."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import docker
import pytest

from envfarm.trainers.client import Client

Server = Any  # conftest.Server; tests are no package

ROOT = Path(__file__).parents[3]
DIALECTS = {"ors": True}
TASK = "terminal/makefile-only-works-twice"
SOLUTION = (ROOT / "tasks/samples" / TASK / "solution/solve.sh").read_text()
SLOW = "echo begun >> /root/count; sleep 3; echo ended >> /root/count; cat /root/count"
ONCE = "begun\nended\n"


@pytest.fixture(scope="module")
def python(client_python: Any) -> Path:
    """The Python that has the client."""
    return Path(client_python("openreward"))


@pytest.fixture
def door(server: Server) -> str:
    """The dialect's own port."""
    return f"http://127.0.0.1:{server.doors['ors']}"


async def play(python: Path, url: str, *commands: str, agent: str = "ors_agent.py") -> dict[str, Any]:
    """What the agent saw."""
    process = await asyncio.create_subprocess_exec(
        *(python, Path(__file__).with_name(agent), url, "mine", TASK, *commands),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return dict(json.loads(out.decode().splitlines()[-1]))


async def post(url: str, body: Any, sid: str | None = None, token: str = "mine") -> tuple[int, Any, str]:
    """The status, headers and text of one request."""
    headers = {"X-API-Key": token} | ({"X-Session-ID": sid} if sid else {})
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as answer:
        return answer.status, answer.headers, await answer.text()


async def call(url: str, sid: str, command: str, task_id: str | None = None) -> tuple[str, Any]:
    """The id of a call and what it came to; ("error", message) when it failed."""
    body = {"name": "bash", "input": {"command": command}} | ({"task_id": task_id} if task_id else {})
    status, _, text = await post(f"{url}/call", body, sid)
    assert status == 200, text
    events = [event.partition("\ndata: ")[::2] for event in text.split("\n\n") if event.startswith("event: ")]
    assert events[0][0] == "event: task_id"
    if events[-1][0] == "event: error":
        return "error", events[-1][1]
    return events[0][1], json.loads("".join(data for _, data in events[1:]))


async def newest(farm: Client) -> dict[str, Any]:
    async for one in farm.episodes(run="mine"):
        return dict(one)
    return {"state": "none"}


async def begin(url: str, farm: Client, sid: str) -> str:
    """A session's episode."""
    assert (await post(f"{url}/create", {"task_spec": {"task_id": TASK}}, sid))[0] == 200
    return str((await newest(farm))["id"])


async def test_the_reference_solution_earns_one(door: str, farm: Client, python: Path) -> None:
    seen = await play(python, door, '{"comand": "ls"}', "seq 3000; printf '\\n   x'", SOLUTION, "finish", "true")
    assert seen["splits"] == ["train"]
    assert seen["last"]
    assert seen["some"]
    assert seen["roles"][-1] == "user"
    assert {"bash", "finish"} <= set(seen["tools"])
    wrong, long, solved, finished, after = seen["results"]
    assert wrong["metadata"]["is_error"]
    assert "command" in wrong["text"]
    assert long["text"].endswith("2999\n3000\n\n   x")
    assert (solved["reward"], solved["finished"]) == (None, False)
    assert (finished["reward"], finished["finished"]) == (1.0, True)
    assert finished["metadata"]["reward"]["status"] == "done"
    assert after["error"] == "ToolCallError"
    ended = await newest(farm)
    assert (ended["state"], ended["reward"]["value"]) == ("scored", 1.0)  # the session's end took nothing back


@pytest.mark.parametrize("sid", ["\udce9", "with space", "x" * 161])
async def test_what_is_no_session_id_is_refused(door: str, sid: str) -> None:
    status, _, text = await post(f"{door}/create", {"task_spec": {"task_id": TASK}}, sid)
    assert status == 400
    assert "X-Session-ID" in text


async def test_a_session_that_is_left_is_cancelled(door: str, farm: Client, python: Path) -> None:
    await play(python, door, "true")
    assert (await newest(farm))["state"] == "cancelled"


async def test_trl_needs_no_adapter(door: str, farm: Client, python: Path) -> None:
    seen = await play(python, door, SOLUTION, agent="ors_trl_agent.py")
    assert "make" in seen["prompt"].lower()
    assert seen["rewards"] == [1.0, 0.0, None]  # TRL leaves null out


async def test_a_stream_that_breaks_in_mid_step(server: Server, farm: Client, python: Path, begun: Any) -> None:
    async with server.relayed(server.doors["ors"]) as url:
        agent = asyncio.create_task(play(python, url, SLOW, "cat /root/count"))
        async with asyncio.timeout(120):
            while (await newest(farm))["state"] not in ("queued", "starting", "running"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await begun((await newest(farm))["id"])
        server.cut()
        assert [one["text"] for one in (await agent)["results"]] == [ONCE, ONCE]


async def test_a_call_whose_id_was_never_read_runs_once(server: Server, door: str, farm: Client, begun: Any) -> None:
    id = await begin(door, farm, "unread")
    async with server.relayed(server.doors["ors"]) as url:
        first = asyncio.create_task(call(url, "unread", SLOW))
        await begun(id)
        server.cut()
        with pytest.raises(aiohttp.ClientError):
            await first
    again = await call(door, "unread", SLOW)
    assert again[1]["output"]["blocks"][0]["text"] == ONCE
    assert (await call(door, "unread", "cat /root/count"))[1]["output"]["blocks"][0]["text"] == ONCE
    same = [(await call(door, "unread", "echo x >> /root/n; cat /root/n"))[0] for _ in range(2)]
    assert same[0] != same[1]  # a model may do the same twice
    assert (await post(f"{door}/delete", {}, "unread"))[0] == 200


async def test_a_server_that_is_killed_in_mid_step(server: Server, door: str, farm: Client, begun: Any) -> None:
    id = await begin(door, farm, "killed")
    task_id, _ = await call(door, "killed", "true")
    first = asyncio.create_task(call(door, "killed", SLOW))
    await begun(id, turn=1)
    [*_, running] = [one async for one in farm.steps(id)]
    server.kill()
    with pytest.raises(aiohttp.ClientError):
        await first
    server.start()
    await farm.episode(id)  # it is back
    assert (await post(f"{door}/ping", {}, "killed"))[0] == 200
    again = await call(door, "killed", SLOW, running["step_id"])
    assert again[1]["output"]["blocks"][0]["text"] == ONCE
    assert again[0] != task_id
    assert (await farm.episode(id))["turn"] == 2
    await farm.cancel(id)
    assert (await post(f"{door}/ping", {}, "killed"))[0] == 410


async def test_an_episode_that_was_cut_between_two_calls_has_its_reward(door: str, farm: Client) -> None:
    id = await begin(door, farm, "cut")
    assert (await call(door, "cut", "true"))[1]["ok"]
    await farm.finish(id, reason="length")
    for _ in range(2):  # again, it changes nothing
        output = (await call(door, "cut", "true"))[1]["output"]
        assert (output["reward"], output["finished"], output["blocks"]) == (0.0, True, [])


async def test_a_lost_sandbox_is_no_zero(server: Server, door: str, farm: Client, engine: docker.DockerClient) -> None:
    id = await begin(door, farm, "lost")
    assert (await call(door, "lost", "true"))[1]["ok"]
    server.lose_sandboxes(engine)
    assert (await call(door, "lost", "true"))[0] == "error"
    reward = await farm.wait_reward(id)
    assert (reward["status"], reward["value"]) == ("error", None)
    assert (await post(f"{door}/call", {"name": "bash", "input": {"command": "true"}}, "lost"))[0] == 410


async def test_who_may_not_and_what_there_is_not(server: Server, door: str, farm: Client) -> None:
    id = await begin(door, farm, "one")
    assert await begin(door, farm, "one") == id  # again, it changes nothing
    assert (await post(f"{server.url}/ors/ping", {}, "one"))[0] == 200  # the same, under its prefix
    assert (await post(f"{door}/ping", {}, "one", "nobody"))[0] == 401
    assert (await post(f"{door}/ping", {}, "one", "other"))[0] == 404
    assert (await post(f"{door}/ping", {}))[0] == 400
    for body, field in (
        ({}, "task_spec"),
        ({"task_spec": {}}, "task_id"),
        ({"split": "nowhere", "index": 0}, "split"),
        ({"split": "train", "index": 100_000}, "index"),
        ({"split": "train", "index": 0, "toolset_name": "codex"}, "toolset_name"),
    ):
        status, _, text = await post(f"{door}/create", body, "two")
        assert status == 400, text
        assert field in text
    assert (await post(f"{door}/create", {"task_spec": {"task_id": "terminal/none"}}, "two"))[0] == 404
    assert (await post(f"{door}/none/tasks", {"split": "train"}))[0] == 404
    assert (await post(f"{door}/score_group", {}, "one"))[0] == 404
    await farm.cancel(id)
