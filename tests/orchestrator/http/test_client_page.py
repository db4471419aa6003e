"""The snippets of the client's page run as they stand, but for the server's address and the task."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

Api = Any
PAGE = Path(__file__).parents[3] / "docs" / "client.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("number", range(len(SNIPPETS)))
async def test_a_snippet_runs(api: Api, number: int, tmp_path: Path) -> None:
    code = SNIPPETS[number].replace("http://127.0.0.1:8470", api.url)
    (tmp_path / "snippet.py").write_text(code.replace("terminal/makefile-only-works-twice", "toy/one"))
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "snippet.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
