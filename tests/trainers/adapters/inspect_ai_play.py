"""An Inspect evaluation with a scripted model, whose sandboxes are the farm's; prints its samples as JSON.

inspect_ai_play.py SOLUTION: three samples of a task: one solves it, one does nothing, one loses its sandbox.
"""

import json
import sys

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput, execute_tools, get_model
from inspect_ai.solver import solver, use_tools
from inspect_ai.tool import bash
from inspect_ai.util import sandbox
from lose import lose

from envfarm.trainers.adapters.inspect_ai import FarmSandboxEnvironment, farm_reward

TASK = "terminal/makefile-only-works-twice"
EPISODES = {}


@solver
def play():
    """Calls the tool as the sample's metadata says, as if a model had."""

    async def solve(state, generate):
        here = sandbox().as_type(FarmSandboxEnvironment)
        EPISODES[state.sample_id] = here.episode.id
        for command in state.metadata["commands"]:
            if command == "lose":
                lose(here.episode.id)
            state.output = ModelOutput.for_tool_call("mockllm/model", "bash", {"command": command})
            state.messages.append(state.output.message)
            said = await execute_tools(state.messages, state.tools)
            state.messages.extend(said.messages)
        return state

    return solve


samples = {"solves": ["make", sys.argv[1]], "idles": ["true"], "loses": ["echo begun", "lose"]}
task = Task(
    dataset=[
        Sample(id=name, input="Repair the Makefile.", metadata={"commands": commands}, sandbox=("envfarm", TASK))
        for name, commands in samples.items()
    ],
    solver=[use_tools(bash(timeout=60)), play()],
    scorer=farm_reward(),
)
[log] = eval(task, model=get_model("mockllm/model"), fail_on_error=False, display="none", log_dir="logs")
shown = {
    one.id: {
        "error": one.error.message if one.error else None,
        "scores": {name: score.value for name, score in (one.scores or {}).items()},
        "tools": [
            [message.text, message.error and message.error.message]
            for message in one.messages
            if message.role == "tool"
        ],
        "episode": EPISODES[one.id],
    }
    for one in log.samples
}
metrics = {name: one.value for name, one in log.results.scores[0].metrics.items()}
print(json.dumps({"samples": shown, "metrics": metrics, "status": log.status}))  # noqa: T201
