"""An agent with the real MCP client, in the client's own virtual environment: plays the commands it is given.

mcp_agent.py URL TOKEN COMMAND…: writes one JSON line of what it saw. `+` before a command calls it beside the others.
"""

import asyncio
import json
import sys
from importlib.metadata import version


async def play(session, commands):
    prompt = await session.get_prompt("task")
    tools = await session.list_tools()
    plain = [one for one in commands if not one.startswith("+")]
    results = [await call(session, one) for one in plain]
    beside = [one[1:] for one in commands if one.startswith("+")]
    results += await asyncio.gather(*(call(session, one) for one in beside))
    text = prompt.messages[0].content.text
    return {"task": text, "tools": [tool.name for tool in tools.tools], "results": results}


async def call(session, command):
    name, arguments = ("finish", {}) if command == "finish" else ("bash", {"command": command})
    if command.startswith("{"):
        name, arguments = "bash", json.loads(command)
    try:
        result = await session.call_tool(name, arguments)
    except Exception as error:  # noqa: BLE001 - its name differs between the versions
        return {"error": str(error)}
    is_error = getattr(result, "isError", None) or getattr(result, "is_error", None)
    return {"text": result.content[0].text, "is_error": bool(is_error)}


async def main(url, token, *commands):
    headers = {"Authorization": f"Bearer {token}"}
    if version("mcp").startswith("1."):
        from mcp import ClientSession
        from mcp.client.streamable_http import streamablehttp_client

        async with streamablehttp_client(url, headers=headers) as (read, write, _), ClientSession(read, write) as one:
            await one.initialize()
            return await play(one, commands)
    from mcp.client import Client
    from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

    http = create_mcp_http_client(headers=headers)
    async with http, Client(streamable_http_client(url, http_client=http)) as client:
        return await play(client, commands)


sys.stdout.write(json.dumps(asyncio.run(main(*sys.argv[1:]))))
