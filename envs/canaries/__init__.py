"""Tests that only the grader knows: they must fail, or must pass, whatever the code under test does."""

from __future__ import annotations

from envfarm.envs.canaries.base import Language, Planted, canaries, decoys
from envfarm.envs.canaries.go import Go
from envfarm.envs.canaries.javascript import JavaScript
from envfarm.envs.canaries.python import Python
from envfarm.envs.canaries.rust import Rust

__all__ = ["LANGUAGES", "Language", "Planted", "canaries", "decoys"]

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
