"""What every request and every answer has in common."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@/+-]*$", max_length=200)]
"""An id that a caller makes up: a run, a group, a step, a policy version."""

Id = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=200)]
"""An id that we made up."""

MAX_INT = (1 << 63) - 1
"""The largest integer that every database takes."""

T = TypeVar("T")


class RequestModel(BaseModel):
    """What a caller sends: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)  # JSON has no way to give them back


class ViewModel(BaseModel):
    """What a caller is told."""

    model_config = ConfigDict(extra="ignore")  # a client must live with fields that a newer server adds


class Page(ViewModel, Generic[T]):
    """A part of a list."""

    items: list[T]
    next: str | None = Field(None, description="give it as `cursor` for the next page; null at the end")
