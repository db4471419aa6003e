"""The client's types beside the server's: a field that the server does not have would never be filled."""

from __future__ import annotations

from typing import Any

import pytest

from envfarm.orchestrator.schemas import episodes, runs, tasks
from envfarm.trainers import views
from envfarm.trainers.reward import Reward


@pytest.mark.parametrize(
    ("view", "answer"),
    [
        (views.Message, episodes.MessageView),
        (views.EpisodeView, episodes.EpisodeView),
        (views.Result, episodes.CallResult),
        (views.Step, episodes.StepView),
        (views.Task, tasks.TaskView),
        (views.TaskStats, tasks.TaskStats),
        (views.Run, runs.RunView),
        (Reward, episodes.RewardView),
    ],
)
def test_types_are_the_servers(view: Any, answer: Any) -> None:
    named = {field.alias or name for name, field in view.model_fields.items()}
    assert named <= set(answer.model_fields)
