"""What is wrong with an input, in one line: where it stands, and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from typing import Any

from pydantic import BaseModel, ValidationError

Place = tuple[int | str, ...]
"""Keys and indexes from the outside in, as pydantic has them."""


def dotted(place: Place) -> str:
    """A place as JSON's users write it: `calls.0.name`."""
    return ".".join(str(part) for part in place)


def explain(
    error: ValidationError,
    model: type[BaseModel] | None = None,
    *,
    where: Callable[[Place], str] = dotted,
    secret: Collection[str] = (),
) -> str:
    """The first thing that is wrong, and how many more there are.

    `model` is what was validated: its fields are named where one is unknown. The values of the fields in `secret`
    (those of tables by `table.field`) are not shown.
    """
    problems = error.errors(include_url=False)
    first = problems[0]
    place: Place = first["loc"]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "json_invalid":
        return f"{first['msg']}; send a JSON object"
    head = f"{where(place)}: " if place else ""
    if first["type"] == "extra_forbidden":
        return f"{head}no such field; {_advice(model, place)}{more}"
    field = ".".join(part for part in place if isinstance(part, str))
    shown = place and first["type"] != "missing" and field not in secret
    given = f", not {_short(first['input'])}" if shown else ""
    return f"{head}{first['msg'].removeprefix('Value error, ')}{given}{more}"


def _advice(model: type[BaseModel] | None, place: Place) -> str:
    known = [] if model is None else _fields(model, place[:-1])
    near = difflib.get_close_matches(str(place[-1]), known, 1, 0.5)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known) or 'none'}"


def _fields(model: type[BaseModel], place: Place) -> list[str]:
    """The fields of the model that stands at a place inside another."""
    schema = model.model_json_schema()

    def plain(one: dict[str, Any]) -> dict[str, Any]:
        """A schema without the indirections of references and of `X | None`."""
        options = [one, *one.get("anyOf", [])]
        options = [schema["$defs"][o["$ref"].rpartition("/")[2]] if "$ref" in o else o for o in options]
        return next((o for o in options if "properties" in o or "items" in o), {})

    here = plain(schema)
    for part in place:
        here = plain(here.get("items", {}) if isinstance(part, int) else here.get("properties", {}).get(part, {}))
    return list(here.get("properties", {}))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
