"""Reports that the test frameworks wrote, by the commands that the runners give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def report() -> Callable[[str], bytes]:
    """The report of that name."""
    return lambda name: (Path(__file__).parent / "reports" / name).read_bytes()
