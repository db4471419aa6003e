"""A sound Harbor folder to spoil."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Writes a task folder named `name`; `files` adds files, or takes one away with None."""

    def make(name: str = "task", **files: str | None) -> Path:
        folder = tmp_path / name
        written: dict[str, str | None] = {
            "task.toml": "",
            "instruction.md": "Do it.\n",
            "environment/Dockerfile": "FROM debian:12\n",
            "tests/test.sh": "#!/bin/sh\n",
            **files,
        }
        folder.mkdir(parents=True)
        for place, text in written.items():
            if text is not None:
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                (folder / place).write_text(text)
        return folder

    return make
