"""Images: built from a folder by the engine, cached by content, built once under concurrency, logs kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

Check = Callable[[str], Awaitable[None]]
"""Looks at an image by its reference, and raises to refuse it."""


class ImageBuilder(Protocol):
    """Builds images."""

    async def build(
        self,
        context: Path,
        *,
        dockerfile: str = "Dockerfile",
        args: Mapping[str, str] | None = None,
        name: str = "task",
        timeout: float = 600.0,
        check: Check | None = None,
    ) -> str:
        """Build a folder and return the image's reference, at once when it is built already.

        `timeout` is in seconds. `check` sees a new image before it gets its name; what it raises refuses the image.
        Raises ImageError with the end of the log, BackendUnavailable.
        """

    async def find(self, image: str) -> str:
        """The reference under which the engine has an image that a task names: its own, a stand-in's, or pulled.

        Raises ImageError, BackendUnavailable.
        """
