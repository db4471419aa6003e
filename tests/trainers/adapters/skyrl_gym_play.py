"""Plays rollouts through skyrl-gym's registry, as SkyRL's generator does, and prints what came of them as JSON.

skyrl_gym_play.py SOLUTION
"""

import gc
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import skyrl_gym
from lose import lose

from envfarm.trainers.adapters.shared import shared_farm
from envfarm.trainers.client import NullReward

TASK = "terminal/makefile-only-works-twice"
skyrl_gym.register(id="envfarm", entry_point="envfarm.trainers.adapters.skyrl_gym:FarmEnv")


def call(**arguments):
    return "Let me see.\n<tool_call>\n" + json.dumps({"name": "bash", "arguments": arguments}) + "\n</tool_call>"


def make(retries=2, **row):
    config = {"generations": 2, "retries": retries}
    return skyrl_gym.make("envfarm", env_config=config, extras={"task": TASK, **row})


def play(env, actions):
    """The chat, the rewards and the episodes of one rollout; `lose` before an action takes the sandbox away."""
    chat, about = env.init([{"role": "user", "content": ""}])
    told = {"rewards": [], "episodes": [about["episode"]], "first": [one["role"] for one in chat]}
    for action in actions:
        if action == "lose":
            lose(told["episodes"][-1])
            continue
        out = env.step(action)
        chat += [{"role": "assistant", "content": action}, *out["observations"]]
        told["rewards"].append(out["reward"])
        told["episodes"].append(out["metadata"]["episode"])
        if out["done"]:
            break
    told["seen"] = [one["content"] for one in chat if one["role"] == "user"][1:]
    return told


solve, finish = call(command=sys.argv[1]), '<tool_call>{"name": "finish", "arguments": {}}</tool_call>'
scripts = {
    "solves": (make(), [solve, finish]),
    "says": (
        make(),
        [
            "<tool_call>no JSON</tool_call>",
            '<tool_call>{"name": "bash", "arguments": []}',
            call(comand="ls"),
            "I give up.",
        ],
    ),
    "loses": (make(), [solve, "lose", call(command="ls Makefile"), finish]),
    "long": (make(max_turns=1), [call(command="true")]),
}
shown = {}
with ThreadPoolExecutor() as pool:
    for name, one in {name: pool.submit(play, *script) for name, script in scripts.items()}.items():
        shown[name] = one.result()
for env, _ in scripts.values():
    env.close()

unlucky = make(retries=0)
told = unlucky.init([])[1]
unlucky.step(call(command="true"))
lose(told["episode"])
try:
    shown["unlucky"] = unlucky.step(finish)
except Exception as error:  # noqa: BLE001 - which one is what is asked
    shown["unlucky"] = {"error": type(error).__name__, "null": isinstance(error, NullReward)}

dropped = make()
left = dropped.init([])[1]["episode"]
del dropped
gc.collect()
for _ in range(100):
    state = shared_farm().attach(left).inner.view.state
    if state == "cancelled":
        break
    time.sleep(0.1)
shown["dropped"] = state
shown["groups"] = [shared_farm().attach(shown[name]["episodes"][0]).inner.view.group_id for name in scripts]
print(json.dumps(shown))  # noqa: T201
