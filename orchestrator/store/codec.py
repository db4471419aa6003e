"""JSON as the store keeps it: text without NUL or lone surrogates, whatever the model wrote."""

from __future__ import annotations

import json
from typing import Any

import orjson


def dump(value: Any) -> str:
    """Compact JSON text; a lone surrogate becomes its escape."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def load(text: str) -> Any:
    """The value of a text that `dump` made."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def plain(text: str, limit: int = 2000) -> str:
    """A text that every database takes in a text column, cut to a limit of characters."""
    return text.replace("\0", "\\0").encode("utf-8", "replace").decode()[:limit]
