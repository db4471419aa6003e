"""Keys of a task file that nobody reads and that look like a slip of the pen for one that is read."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from envfarm.tasks.spec import OLD_NAMES, TaskConfig

_LIKENESS = 0.77  # `cpu` for `cpus`, `timeout` for `timeout_sec`; not `version` for `schema_version`


def near_misses(raw: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is written and what was probably meant, each as a task file has it: `[environment] cpu`.

    Other foreign keys are Harbor's or somebody's own, and nobody is told of them.
    """
    return list(_misses(raw, TaskConfig, ()))


def _misses(raw: Mapping[str, Any], model: type[BaseModel], place: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for key, value in raw.items():
        if (field := model.model_fields.get(key)) is not None:
            inner = _table(field.annotation)
            if isinstance(value, dict) and inner is not None and inner.model_config.get("extra") == "ignore":
                yield from _misses(value, inner, (*place, key))
        elif key not in OLD_NAMES and (
            near := difflib.get_close_matches(key.lower(), model.model_fields, 1, _LIKENESS)
        ):
            written = isinstance(value, dict)
            meant = _table(model.model_fields[near[0]].annotation) is not None
            yield _shown((*place, key), table=written), _shown((*place, near[0]), table=meant)


def _table(annotation: Any) -> type[BaseModel] | None:
    """The model of a table, from `Model` or `Model | None`."""
    options = [option for option in (annotation, *get_args(annotation)) if isinstance(option, type)]
    return next((option for option in options if issubclass(option, BaseModel)), None)


def _shown(place: tuple[str, ...], *, table: bool) -> str:
    if table:
        return f"[{'.'.join(place)}]"
    return f"[{'.'.join(place[:-1])}] {place[-1]}" if len(place) > 1 else place[0]
