"""Images: built from a folder by the engine, cached by content, built once under concurrency, logs kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


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
    ) -> str:
        """Build a folder and return the image's reference, at once when it is built already.

        `timeout` is in seconds. Raises ImageError with the end of the log, BackendUnavailable.
        """

    async def find(self, image: str) -> str:
        """The reference under which the engine has an image that a task names: its own, a stand-in's, or pulled.

        Raises ImageError, BackendUnavailable.
        """
