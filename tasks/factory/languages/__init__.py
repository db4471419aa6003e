"""How each language's repository becomes an image whose tests run with no network."""

from __future__ import annotations

from envfarm.tasks.factory.languages.base import Language
from envfarm.tasks.factory.languages.go import Go
from envfarm.tasks.factory.languages.node import Node
from envfarm.tasks.factory.languages.python import Python
from envfarm.tasks.factory.languages.rust import Rust

LANGUAGES: dict[str, Language] = {language.name: language for language in (Python(), Go(), Node(), Rust())}


def detect(files: set[str]) -> Language | None:
    """The language of a repository, by the package file at its root; None when it is none of ours."""
    for language in LANGUAGES.values():
        if files & language.marks:
            return language
    if any(name.endswith(".go") for name in files):
        return LANGUAGES["go"]  # from before go.mod
    return None
