"""A judge whose model is a local server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from envfarm.envs.judge.judge import ModelJudge
from envfarm.envs.judge.prompt import Frame
from envfarm.tasks.rubric import Leaf, Rubric
from envfarm.toolbox.chat import ChatModel
from envfarm.toolbox.endpoint import Limits

from ...toolbox.chat_server import ChatServer, chat_server
from .pixels import GOOD, png

MakeJudge = Callable[..., ModelJudge]

RUBRIC = Rubric(
    leaves=(
        Leaf(id="hero", group="visual", statement="A hero section is shown."),
        Leaf(id="clock", group="motion", statement="The clock runs.", weight=3.0),
    )
)
LEAVES = ["hero", "clock"]
FRAMES = [Frame(1, 0.0, "first paint", png(GOOD)), Frame(2, 1.0, "settled", png((1, 2, 3)))]


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with chat_server() as server:
        yield server


@pytest.fixture
async def make_judge(server: ChatServer) -> AsyncIterator[MakeJudge]:
    """Makes judges that ask the server."""
    async with AsyncExitStack() as stack:

        def make(**options: Any) -> ModelJudge:
            model = ChatModel(server.url, "tiny-vlm", "key", limits=Limits(timeout=0.5, attempts=2, pause=0.001))
            judge = ModelJudge(model, **options)
            stack.push_async_callback(judge.close)
            return judge

        yield make
