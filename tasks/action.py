"""The words for a web page that is served and used: `Serve`, `Step`, `Target` and `Check`.

They are read from a task's page.toml, and by the renderer, in whose image nothing else of envfarm is; so this file
needs no more than pydantic.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Mode = Literal["exact", "live"]

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


class Table(BaseModel):
    """A table of page.toml: no unknown key, and it stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Serve(Table):
    """How the page is built and served: a static folder, or a command that listens on a port."""

    build: str | None = None  # shell command, run in the site's folder before anything is served
    folder: str = "."  # static: what is served, below the site's folder
    command: str | None = None  # a server instead of a static folder
    port: int = Field(8000, ge=1024, le=65535)
    path: str = "/"  # of the main document
    build_seconds: float = Field(120, gt=0)
    start_seconds: float = Field(20, gt=0)  # until the server listens


class Target(Table):
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


class Check(Table):
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


class Step(Table):
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
