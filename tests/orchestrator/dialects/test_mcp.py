"""MCP: the client from PyPI plays real tasks in real sandboxes; broken connections and restarts run nothing twice."""

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
DIALECTS = {"mcp": False}
TASK = "terminal/makefile-only-works-twice"
SOLUTION = (ROOT / "tasks/samples" / TASK / "solution/solve.sh").read_text()
SLOW = "echo begun >> /root/count; sleep 3; echo ended >> /root/count; cat /root/count"
ONCE = {"text": "begun\nended\n", "is_error": False}
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


@pytest.fixture(scope="module", params=["mcp-1", "mcp-2"])
def python(request: pytest.FixtureRequest, client_python: Any) -> Path:
    """The Python that has the client."""
    return Path(client_python(request.param))


async def play(python: Path, url: str, *commands: str) -> dict[str, Any]:
    """What the agent saw."""
    agent = Path(__file__).with_name("mcp_agent.py")
    process = await asyncio.create_subprocess_exec(
        python, agent, url, "mine", *commands, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return dict(json.loads(out))


async def post(url: str, message: Any, token: str = "mine", **headers: str) -> tuple[int, Any, Any]:
    """The status, headers and JSON of one message."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"} | headers
    async with aiohttp.ClientSession() as session, session.post(url, json=message, headers=headers) as answer:
        text = await answer.text()
        return answer.status, answer.headers, json.loads(text) if text else None


def bash(id: Any, command: str, **more: Any) -> dict[str, Any]:
    params = {"name": "bash", "arguments": {"command": command}} | more
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}


async def test_the_reference_solution_earns_one(server: Server, farm: Client, python: Path, begin: Any) -> None:
    id = await begin()
    seen = await play(python, f"{server.url}/mcp/{id}", '{"comand": "ls"}', SOLUTION, "+echo a", "+echo b", "finish")
    assert seen["task"] == (await farm.episode(id))["messages"][-1]["content"]
    assert {"bash", "finish"} <= set(seen["tools"])
    wrong, solved, finished, *_ = seen["results"]
    assert wrong["is_error"]
    assert "command" in wrong["text"]
    assert not solved["is_error"]
    assert "error" not in finished
    reward = await farm.wait_reward(id)
    assert (reward["status"], reward["value"]) == ("done", 1.0)


async def test_calls_at_once_run_one_after_the_other(server: Server, farm: Client, python: Path, begin: Any) -> None:
    id = await begin()
    seen = await play(python, f"{server.url}/mcp/{id}", "+sleep 0.5; echo a", "+echo b", "+echo c")
    assert [one["text"] for one in seen["results"]] == ["a\n", "b\n", "c\n"]
    await farm.cancel(id)


async def test_a_connection_that_breaks_in_mid_step(
    server: Server, farm: Client, python: Path, begin: Any, begun: Any
) -> None:
    id = await begin()
    async with server.relayed(server.port) as url:
        agent = asyncio.create_task(play(python, f"{url}/mcp/{id}", SLOW))
        await begun(id)
        server.cut()
        assert (await agent)["results"] == [ONCE]
    assert (await farm.episode(id))["turn"] == 1
    await farm.cancel(id)


async def test_a_server_that_is_killed_in_mid_step(server: Server, farm: Client, begin: Any, begun: Any) -> None:
    """The client of PyPI asks again only for a few seconds, so what it would send is sent here until it is answered."""
    id = await begin()
    url = f"{server.url}/mcp/{id}"
    session = {"Mcp-Session-Id": "one"}
    first = asyncio.create_task(post(url, bash(7, SLOW), **session))
    await begun(id)
    server.kill()
    with pytest.raises(aiohttp.ClientError):
        await first
    server.start()
    await farm.episode(id)  # it is back
    headers = {"Last-Event-ID": "7", "Authorization": "Bearer mine", **session}
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        data = (await answer.text()).rpartition("data: ")[2]
    assert json.loads(data)["result"]["content"] == [{"type": "text", "text": ONCE["text"]}]
    again = (await post(url, bash(7, SLOW), **session))[2]
    assert again == json.loads(data)
    assert (await farm.episode(id))["turn"] == 1
    await farm.cancel(id)


async def test_a_lost_sandbox_is_no_zero(server: Server, farm: Client, engine: docker.DockerClient, begin: Any) -> None:
    id = await begin()
    url = f"{server.url}/mcp/{id}"
    assert (await post(url, bash(1, "true"), **{"Mcp-Session-Id": "one"}))[2]["result"]["isError"] is False
    server.lose_sandboxes(engine)
    _, _, answer = await post(url, bash(2, "true"), **{"Mcp-Session-Id": "one"})
    assert answer.get("error", {}).get("code") == -32000, answer
    reward = await farm.wait_reward(id)
    assert (reward["status"], reward["value"]) == ("error", None)


async def test_the_same_call_runs_once_and_another_is_refused(server: Server, farm: Client, begin: Any) -> None:
    id = await begin()
    url = f"{server.url}/mcp/{id}"
    own = {"_meta": {"envfarm/step_id": "mine-1"}}
    first = (await post(url, bash(1, "echo x >> /root/n; cat /root/n", **own)))[2]
    again = (await post(url, bash(2, "echo x >> /root/n; cat /root/n", **own)))[2]
    assert first["result"] == again["result"]
    assert first["result"]["_meta"]["envfarm/step"]["step_id"] == "mine-1"
    other = (await post(url, bash(3, "echo y", **own)))[2]
    assert other["error"]["data"]["type"] == "conflict"
    await farm.cancel(id)
    gone = (await post(url, bash(4, "echo y", _meta={"envfarm/step_id": "mine-2"})))[2]
    assert (gone["error"]["code"], gone["error"]["data"]["type"]) == (-32000, "gone")


async def test_who_may_not_and_what_there_is_not(server: Server, farm: Client, begin: Any) -> None:
    id = await begin()
    url = f"{server.url}/mcp/{id}"
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert (await post(url, ping))[2] == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert (await post(url, ping, "nobody"))[0] == 401
    assert (await post(url, ping, "other"))[0] == 404  # another run's episode
    assert (await post(f"{server.url}/mcp/none", ping))[0] == 404
    assert (await post(url, [ping]))[0] == 400
    assert (await post(url, {"jsonrpc": "2.0", "method": "notifications/initialized"}))[0] == 202
    assert (await post(url, ping | {"method": "nothing"}))[2]["error"]["code"] == -32601
    without_session = await post(url, bash(1, "true"))
    assert "Mcp-Session-Id" in str(without_session[2])
    await farm.cancel(id)
