"""A rubric: statements about what an agent made, each of which a judge answers with yes or no."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Leaf(BaseModel):
    """One statement; the groups of pages are visual, content and motion, those of texts have any names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    group: str = Field("quality", min_length=1)
    statement: str = Field(min_length=1)  # true of good work, so that yes is always the better answer
    weight: float = Field(1.0, gt=0)


class Rubric(BaseModel):
    """The leaves that one piece of work is judged by."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    leaves: Annotated[tuple[Leaf, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_has_its_name(self) -> Self:
        twice = [name for name, count in Counter(leaf.id for leaf in self.leaves).items() if count > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} is there twice; give each leaf its own id")
        return self


class RubricTable(Rubric):
    """`[envfarm.rubric]`: a model's opinion as one named part of a task's reward."""

    weight: float = Field(0.2, gt=0, lt=1)  # the share of the tests' reward that bad work loses
    files: tuple[str, ...] = ()  # what is judged, from the agent's sandbox; none: what `finish` was told
    required: bool = False  # whether the task is refused where no judge is set

    @field_validator("files")
    @classmethod
    def _whole_paths(cls, files: tuple[str, ...]) -> tuple[str, ...]:
        for path in files:
            if not path.startswith("/"):
                raise ValueError(f"{path!r} is no whole path; write /app/{path}")
        return files
