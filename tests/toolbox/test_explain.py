"""What is wrong with an input, in one line."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from envfarm.toolbox.explain import explain


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = ""
    size: int = Field(1, ge=1)


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")

    parts: list[Part] = []
    part: Part | None = None
    token: int = 0

    @field_validator("parts")
    @classmethod
    def _few(cls, parts: list[Part]) -> list[Part]:
        if len(parts) > 2:
            raise ValueError("give two at most")
        return parts


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"parts": [{"size": 0}]}, "parts.0.size: Input should be greater than or equal to 1, not 0"),
        ({"part": {"nam": 1}}, "part.nam: no such field; did you mean name?"),
        ({"parts": [{"zzz": 1}]}, "parts.0.zzz: no such field; known: name, size"),
        ({"zzz": 1, "yyy": 2}, "zzz: no such field; known: parts, part, token (and 1 more)"),
        ({"parts": [{}, {}, {}]}, "parts: give two at most, not [{}, {}, {}]"),
        ({"parts": "x" * 200}, f"parts: Input should be a valid list, not '{'x' * 76}…"),
        ({"token": "secret"}, "token: Input should be a valid integer, unable to parse string as an integer"),
        ("{", "Invalid JSON: EOF while parsing an object at line 1 column 1; send a JSON object"),
    ],
)
def test_one_line_names_the_field_and_the_fix(data: Any, line: str) -> None:
    validate = Whole.model_validate_json if isinstance(data, str) else Whole.model_validate
    with pytest.raises(ValidationError) as caught:
        validate(data)
    assert explain(caught.value, Whole, secret={"token"}) == line


def test_a_place_is_written_as_the_format_has_it() -> None:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate({"part": {"size": "x"}})
    line = explain(caught.value, where=lambda place: f"[{place[0]}] {place[-1]}")
    assert line.startswith("[part] size: Input should be a valid integer")


def test_what_has_no_fields_has_no_place() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(int).validate_python("secret")
    assert explain(caught.value) == "Input should be a valid integer, unable to parse string as an integer"
