"""A web task's page.toml: how its page is built and served, used by a script, and judged."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from envfarm.tasks.action import Mode, Serve, Step, Table
from envfarm.tasks.rubric import Rubric
from envfarm.toolbox.errors import TaskError
from envfarm.toolbox.explain import explain

Category = Literal[
    "landing", "dashboard", "form", "content", "commerce", "game", "tool", "motion"
]  # docs/web.md says what each is

Group = Literal["visual", "content", "motion"]


class Weights(Table):
    """What the script's and the judge's opinions count, of a page that runs; together 1."""

    functional: float = Field(0.6, ge=0, le=1)
    judge: float = Field(0.4, ge=0, le=1)

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        if abs(self.functional + self.judge - 1) > 1e-9:
            raise ValueError(f"functional and judge add up to {self.functional + self.judge:g}, not to 1")
        return self


class Page(Rubric):
    """`page.toml`: a rubric too, whose leaves the judge answers."""

    category: Category
    folder: str = "/app"  # where the agent builds it
    serve: Serve = Serve()
    mode: Mode | Literal["auto"] = "auto"
    seconds: float = Field(20.0, gt=0, le=20)  # of page time that are recorded at most
    settle: float = Field(1.0, ge=0, le=10)  # of page time before the first step
    explore: int = Field(0, ge=0, le=20)  # further actions of the generic explorer
    promised: tuple[str, ...] = ()  # packages of the store that the instruction promises
    weights: Weights = Weights()
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _can_be_scored(self) -> Self:
        if not self.assertions:
            raise ValueError("steps: no step has checks; nothing tells a good page from a bad one")
        twice = [name for name, count in Counter(step.name for step in self.steps).items() if count > 1]
        if twice:
            raise ValueError(f"steps: {twice[0]!r} is there twice; give each its own name")
        if strange := {leaf.group for leaf in self.leaves} - set(get_args(Group)):
            raise ValueError(f"leaves: no group is called {min(strange)!r}; use {', '.join(get_args(Group))}")
        return self

    @property
    def assertions(self) -> int:
        """How many checks the script makes."""
        return sum(len(step.checks) for step in self.steps)


def load_page(folder: Path) -> Page:
    """The page of a task's folder. Raises TaskError, which names the field and the fix."""
    file = folder / "page.toml"
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TaskError(f"{file}: missing; it says how the page is served, used and judged") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TaskError(f"{file}: not valid TOML: {error}") from None
    try:
        page = Page.model_validate(raw)
    except ValidationError as error:
        raise TaskError(f"{file}: {explain(error, Page)}") from None
    for step in page.steps:
        for name in step.files:
            if not (folder / "assets" / name).is_file() or ".." in Path(name).parts:
                raise TaskError(f"{file}: steps: {step.name!r}: files: no {name!r} in {folder / 'assets'}")
    return page
