"""A web task's page.toml: how its page is built and served, used by a script, and judged."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from envfarm.toolbox.errors import TaskError
from envfarm.toolbox.explain import explain

Mode = Literal["exact", "live"]

Category = Literal[
    "landing", "dashboard", "form", "content", "commerce", "game", "tool", "motion"
]  # docs/web.md says what each is

Group = Literal["visual", "content", "motion"]

Action = Literal[
    "none", "click", "dblclick", "type", "press", "hover", "drag", "scroll", "resize", "upload", "wait", "goto"
]

NEEDS: dict[Action, tuple[str, ...]] = {
    "click": ("target",),
    "dblclick": ("target",),
    "type": ("target", "text"),
    "press": ("text",),
    "hover": ("target",),
    "drag": ("target", "to"),
    "scroll": ("amount",),
    "resize": ("size",),
    "upload": ("target", "files"),
    "goto": ("text",),
}
"""What each action cannot do without."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Serve(_Table):
    """How the page is built and served: a static folder, or a command that listens on a port."""

    build: str | None = None  # shell command, run in the site's folder before anything is served
    folder: str = "."  # static: what is served, below the site's folder
    command: str | None = None  # a server instead of a static folder
    port: int = Field(8000, ge=1024, le=65535)
    path: str = "/"  # of the main document
    build_seconds: float = Field(120, gt=0)
    start_seconds: float = Field(20, gt=0)  # until the server listens


class Target(_Table):
    """An element, as a person would name it; never a position."""

    role: str | None = None
    name: str | None = None  # accessible name
    label: str | None = None
    text: str | None = None
    placeholder: str | None = None
    css: str | None = None  # for what has no role, such as a canvas
    nth: int = 0
    exact: bool = False

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not any((self.role, self.label, self.text, self.placeholder, self.css)):
            raise ValueError("names no element; give role (and name), label, text, placeholder or css")
        return self


class Check(_Table):
    """One assertion after a step; all that are given must hold, within `within` seconds of page time."""

    target: Target | None = None
    visible: bool | None = None
    count: int | None = None
    text: str | None = None  # the target's (or the page's) text contains it
    text_not: str | None = None
    value: str | None = None  # of a field
    attribute: tuple[str, str] | None = None  # name and value
    url: str | None = None  # contains
    title: str | None = None
    style: tuple[str, str] | None = None  # computed property and value
    moved: bool | None = None  # the target's box or pixels change over time: an animation runs
    inside_viewport: bool | None = None
    no_overflow: bool | None = None  # the page is no wider than the viewport
    evaluate: str | None = None  # JavaScript that must give true, in a world of its own that the page cannot touch
    within: float = 1.0

    @model_validator(mode="after")
    def _asserts_something(self) -> Self:
        said = self.model_dump(exclude={"target", "within"}, exclude_none=True)
        if not said:
            raise ValueError("asserts nothing; add visible, text, value, count or another of docs/web.md")
        if self.target is None and (alone := {"visible", "count", "value", "attribute", "style", "moved"} & set(said)):
            raise ValueError(f"{min(alone)} needs a target")
        return self


class Step(_Table):
    """One action, and what must be true after it."""

    name: str  # what it shows, for the report
    action: Action
    target: Target | None = None
    to: Target | None = None  # of a drag
    text: str | None = None  # to type; the keys to press, in Playwright's notation; or where to go
    size: tuple[int, int] | None = None  # of a resize
    amount: int | None = None  # pixels of a scroll
    files: tuple[str, ...] = ()  # of an upload, names below the task's assets
    seconds: float = 0.2  # of page time after the action
    checks: tuple[Check, ...] = ()

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for field in NEEDS.get(self.action, ()):
            if getattr(self, field) in (None, ()):
                raise ValueError(f"{self.action} needs {field}")
        return self


class Leaf(_Table):
    """One statement about the page that a judge answers with yes or no."""

    id: str
    group: Group
    statement: str
    weight: float = Field(1.0, gt=0)


class Weights(_Table):
    """What the script's and the judge's opinions count, of a page that runs; together 1."""

    functional: float = Field(0.6, ge=0, le=1)
    judge: float = Field(0.4, ge=0, le=1)

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        if abs(self.functional + self.judge - 1) > 1e-9:
            raise ValueError(f"functional and judge add up to {self.functional + self.judge:g}, not to 1")
        return self


class Page(_Table):
    """`page.toml`."""

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
    rubric: Annotated[tuple[Leaf, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _can_be_scored(self) -> Self:
        if not self.assertions:
            raise ValueError("steps: no step has checks; without one nothing tells a page that works from one that fails")
        for what, names in (("steps", [s.name for s in self.steps]), ("rubric", [leaf.id for leaf in self.rubric])):
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise ValueError(f"{what}: {twice[0]!r} is there twice; give each its own name")
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
