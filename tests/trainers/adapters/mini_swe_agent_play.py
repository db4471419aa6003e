"""Plays episodes with mini-swe-agent's own loop and a scripted model, and prints what came of them as JSON.

mini_swe_agent_play.py JSON: {"task", "commands", "limits"?, "config"?, "n"?, "reward"?, "steps"?}.
"""

import json
import os
import sys

os.environ["MSWEA_SILENT_STARTUP"] = "1"
from lose import lose
from minisweagent.agents.default import DefaultAgent
from minisweagent.models.test_models import DeterministicModel, make_output

from envfarm.trainers.adapters.mini_swe_agent import FarmEnvironment
from envfarm.trainers.client import ClientError, SyncFarm

ASKED = json.loads(sys.argv[1])
TEMPLATES = {"system_template": "You are on {{system}}.", "instance_template": "Task: {{task}}", "cost_limit": 0}
TEMPLATES["step_limit"] = ASKED.get("steps", 0)


class Model(DeterministicModel):
    """The script; before the command `lose` its sandbox is removed."""

    def query(self, messages, **more):
        said = super().query(messages, **more)
        if said["content"] == "lose":
            lose(self.episode)
        return said


def play(environment):
    model = Model(outputs=[make_output(one, [{"command": one}]) for one in ASKED["commands"]])
    model.episode = environment.episode.id
    agent = DefaultAgent(model, environment, **TEMPLATES)
    told = {"episode": environment.episode.id}
    try:
        told["exit"] = agent.run(environment.task)
    except ClientError as error:
        told["error"] = type(error).__name__
    told["messages"] = [one for one in agent.messages if one["role"] != "assistant"]
    told["about"] = agent.save(None)["info"]
    if ASKED.get("reward", True):
        reward = environment.reward()
        told["reward"] = [reward.status, reward.or_none()]
    return told


def main():
    if not ASKED.get("limits") and not ASKED.get("n"):
        with FarmEnvironment(task=ASKED["task"], url=os.environ["ENVFARM_URL"], **ASKED.get("config", {})) as one:
            return [play(one)]
    farm = SyncFarm(os.environ["ENVFARM_URL"], token=os.environ["ENVFARM_TOKEN"])
    with farm, farm.group(ASKED["task"], ASKED.get("n", 1), limits=ASKED.get("limits", {})) as group:
        return [play(FarmEnvironment(episode=one, **ASKED.get("config", {}))) for one in group]


print(json.dumps(main()))  # noqa: T201
