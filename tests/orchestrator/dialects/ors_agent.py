"""An agent with the real `openreward` client, in the client's own virtual environment: plays the commands it is given.

ors_agent.py URL TOKEN TASK COMMAND…: writes one JSON line of what it saw.
"""

import asyncio
import json
import os
import sys

URL, TOKEN, TASK, *COMMANDS = sys.argv[1:]
os.environ |= {"OPENREWARD_API_URL": URL, "OPENREWARD_SESSION_URL": URL, "OPENREWARD_API_KEY": TOKEN}


async def main():
    from openreward import AsyncOpenReward

    client = AsyncOpenReward(api_key=TOKEN, base_url=URL)
    env = client.environments.get(TASK.partition("/")[0])
    splits = await env.list_splits()
    tasks = await env.list_tasks("train")
    assert await env.num_tasks("train") == len(tasks)
    last = await env.get_task("train", -1)
    some = await env.get_task_range("train", start=1, stop=3)
    index = [task.task_spec["task_id"] for task in tasks].index(TASK)
    async with env.session(split="train", index=index) as session:
        prompt = [block.text for block in await session.get_prompt()]
        roles = [message.role for message in await session.get_messages()]
        tools = [tool.name for tool in await session.list_tools()]
        results = [await call(session, one) for one in COMMANDS]
    await client.environments.aclose()
    return {
        "splits": splits,
        "last": last.task_spec["task_id"] == tasks[-1].task_spec["task_id"],
        "some": [task.task_spec["task_id"] for task in some] == [task.task_spec["task_id"] for task in tasks[1:3]],
        "prompt": prompt,
        "roles": roles,
        "tools": tools,
        "results": results,
    }


async def call(session, command):
    name, arguments = ("finish", {}) if command == "finish" else ("bash", {"command": command})
    if command.startswith("{"):
        name, arguments = "bash", json.loads(command)
    try:
        out = await session.call_tool(name, arguments)
    except Exception as error:  # noqa: BLE001 - which it is, the test asks
        return {"error": type(error).__name__, "why": str(error)}
    text = "".join(block.text for block in out.blocks)
    return {"text": text, "reward": out.reward, "finished": out.finished, "metadata": out.metadata["envfarm"]}


sys.stdout.write(json.dumps(asyncio.run(main())))
