"""What a trainer imports: a farm, its episodes and their rewards, for asyncio or without it.

    async with Farm("http://127.0.0.1:8470") as farm:
        async with farm.episode("terminal/makefile-only-works-twice") as episode:
            step = await episode.step({"name": "bash", "arguments": {"command": "make"}})
            reward = await episode.reward()
    print(reward.value)  # raises NullReward where the farm could not tell

`SyncFarm` is the same without `await`. `Client` is the API below both, call by call.
"""

from __future__ import annotations

from envfarm.trainers.calls import Client
from envfarm.trainers.episode import Episode, EpisodeFailed
from envfarm.trainers.farm import Farm
from envfarm.trainers.reward import NullReward, Reward
from envfarm.trainers.sync import SyncEpisode, SyncFarm
from envfarm.trainers.transport import (
    ClientError,
    Conflict,
    Disconnected,
    Elsewhere,
    FarmFailed,
    Full,
    Gone,
    Json,
    NotFound,
    Refused,
    Unauthorized,
)
from envfarm.trainers.views import Drawn, Message, Result, Run, Step, Task, TaskStats

__all__ = [
    "Client",
    "ClientError",
    "Conflict",
    "Disconnected",
    "Drawn",
    "Elsewhere",
    "Episode",
    "EpisodeFailed",
    "Farm",
    "FarmFailed",
    "Full",
    "Gone",
    "Json",
    "Message",
    "NotFound",
    "NullReward",
    "Refused",
    "Result",
    "Reward",
    "Run",
    "Step",
    "SyncEpisode",
    "SyncFarm",
    "Task",
    "TaskStats",
    "Unauthorized",
]
