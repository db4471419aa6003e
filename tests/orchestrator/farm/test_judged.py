"""A judge that is away costs no reward: the score waits for it, and is null where it stays away."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from envfarm.envs.base import Services
from envfarm.envs.judge.judge import ModelJudge
from envfarm.orchestrator.farm.farm import Farm
from envfarm.orchestrator.schemas.episodes import Call, EpisodeRequest, FinishRequest, StepRequest
from envfarm.toolbox.chat import ChatModel
from envfarm.toolbox.endpoint import Limits

from ...toolbox.chat_server import Says, chat_server

OpenFarm = Callable[..., Awaitable[Farm]]
YES = json.dumps(
    {
        "answers": [{"leaf": "clear", "why": "it is", "frames": [], "answer": True}],
        "addressed_to_judge": {"found": False, "words": "", "frame": None},
    }
)
TOML = """
[metadata]
split = "train"
[envfarm]
kind = "toy"
[envfarm.rubric]
leaves = [{id = "clear", statement = "It is clear."}]
"""


async def test_its_score_waits_for_the_judge(open_farm: OpenFarm, task_folder: Path) -> None:
    (task_folder / "toy/one/task.toml").write_text(TOML)
    async with chat_server() as server:
        judge = ModelJudge(ChatModel(server.url, "m", limits=Limits(attempts=1, timeout=5)), votes=1)
        farm = await open_farm(services=Services(judge=judge))
        server.script = [Says(status=503), Says(YES)]  # away for the first attempt at a score
        assert await scored(farm, "The answer.") == ("done", 1.0)
        server.script = [Says(status=503)]
        assert await scored(farm, "Another answer.") == ("error", None)
        await judge.close()


async def scored(farm: Farm, answer: str) -> tuple[str, float | None]:
    [view] = await farm.create(EpisodeRequest(task_id="toy/one"))
    await farm.step(
        view.id, StepRequest(step_id="a", calls=[Call(name="bash", arguments={"command": "echo 1 > /mark"})])
    )
    await farm.finish(view.id, FinishRequest(answer=answer))
    reward = await farm.reward(view.id, wait=30)
    return reward.status, reward.value
