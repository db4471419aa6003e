"""Runs `vf-eval` on the farm's tasks with a model that is a script on this machine, and prints its traces as JSON.

verifiers_play.py SOLUTION N: of N rollouts the first solves the task, the second does nothing, the third loses its
sandbox.
"""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lose import lose

from envfarm.trainers.adapters.shared import shared_farm

TASK = "terminal/makefile-only-works-twice"
FINISH = ("finish", {})
SCRIPTS = [
    [("bash", {"command": sys.argv[1]}), FINISH],
    [("bash", {"comand": "ls"}), None],
    [("bash", {"command": "echo begun"}), "lose", ("bash", {"command": "true"}), FINISH],
]
BEGUN = []  # the rollouts' first messages, told apart by the number of their turn alone: they run one after the other


class Model(BaseHTTPRequestHandler):
    """Speaks the streaming chat API."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        turn = sum(message["role"] == "assistant" for message in body["messages"])
        if turn == 0:
            BEGUN.append([tool["function"]["name"] for tool in body.get("tools", [])])
        script = [one for one in SCRIPTS[len(BEGUN) - 1] if one != "lose"]
        if "lose" in SCRIPTS[len(BEGUN) - 1] and turn == 1:
            lose(newest())
        said = script[turn] if turn < len(script) else None
        delta = {"role": "assistant", "content": "I am done."}
        if said is not None:
            function = {"name": said[0], "arguments": json.dumps(said[1])}
            call = {"index": 0, "id": f"call_{turn}", "type": "function", "function": function}
            delta = {"role": "assistant", "content": None, "tool_calls": [call]}
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for choice in (
            {"index": 0, "delta": delta, "finish_reason": None},
            {"index": 0, "delta": {}, "finish_reason": "stop" if said is None else "tool_calls"},
        ):
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "script", "choices": [choice]}
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *args):
        pass


def newest():
    """The episode that runs."""
    farm = shared_farm()

    async def running():
        return [one["id"] async for one in farm.inner.client.episodes(state="running")]

    return farm.loop.run(running())[0]


server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
Path("farm_tasks.py").write_text(
    "from envfarm.trainers.adapters.verifiers import FarmTaskset\n\n__all__ = ['FarmTaskset']\n"
)
command = [
    "vf-eval", "farm_tasks", "--env.taskset.kind", "terminal", "--env.taskset.task.generations", sys.argv[2],
    "--env.agent.harness.id", "null", "--env.agent.runtime.type", "subprocess",
    "--select.include.names", json.dumps([TASK]), "-r", sys.argv[2], "-c", "1", "-m", "script",
    "--client.base-url", f"http://127.0.0.1:{server.server_port}/v1", "--client.api-key-var", "MODEL_KEY",
    "--no-push", "--no-rich", "-o", "out", "--run.name", "run", "--clean",
]  # fmt: skip
environment = os.environ | {"PYTHONPATH": ".", "MODEL_KEY": "none"}
done = subprocess.run(
    command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
)
if done.returncode:
    sys.exit(done.stdout.decode())
found = [json.loads(line) for path in Path("out/run").rglob("traces.jsonl") for line in path.read_text().splitlines()]
traces = [trace for one in found for trace in one.get("traces", [one])]
print(json.dumps({"traces": traces, "tools": BEGUN}))  # noqa: T201
