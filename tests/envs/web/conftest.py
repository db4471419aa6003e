"""What records pages in these tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from .pages import Recorder


@pytest.fixture
async def recorded(image: Callable[[str], str]) -> AsyncIterator[Recorder]:
    """Records on Docker."""
    image("renderer")
    recorder = Recorder()
    yield recorder
    await recorder.close()
