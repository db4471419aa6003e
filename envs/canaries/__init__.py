"""Tests that only the grader knows: canaries, and decoys that stand in a line with the real tests."""

from __future__ import annotations

from envfarm.envs.canaries.base import Language
from envfarm.envs.canaries.go import Go
from envfarm.envs.canaries.javascript import JavaScript
from envfarm.envs.canaries.plant import Suite, plant
from envfarm.envs.canaries.planted import Planted
from envfarm.envs.canaries.python import Python
from envfarm.envs.canaries.rust import Rust

__all__ = ["LANGUAGES", "Planted", "Suite", "plant"]

LANGUAGES: dict[str, Language] = {
    "pytest": Python(),
    "go": Go(),
    "cargo": Rust(),
    "node": JavaScript(),
    "mocha": JavaScript(),
    "jest": JavaScript(),
    "tape": JavaScript(),
}
"""By runner."""
