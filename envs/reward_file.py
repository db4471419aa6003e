"""Harbor's reward files: `reward.json`, else `reward.txt`.

Source: Harbor's verifier. `reward.json` is an object of numbers (or a bare number) and counts first, `reward.txt` is
one number. Where the object has no `reward`, `reward.txt` gives it, else the object's only number. Neither file, an
empty one or one without a number is an error, not 0.
"""

from __future__ import annotations

import json
import math


class NoReward(ValueError):
    """The tests left no reward that can be read; the message says why."""


def read_reward(json_file: bytes | None, text_file: bytes | None) -> tuple[float, dict[str, float]]:
    """The reward, and its named parts. Raises NoReward."""
    if json_file is None and text_file is None:
        raise NoReward("the tests wrote neither reward.json nor reward.txt")
    if json_file is None:
        assert text_file is not None
        return _text(text_file), {}
    parts = _object(json_file)
    if "reward" in parts:
        return parts.pop("reward"), parts
    if text_file is not None:
        return _text(text_file), parts
    if len(parts) == 1:
        return next(iter(parts.values())), parts
    raise NoReward(f"reward.json has no `reward`, only {', '.join(sorted(parts)) or 'no number at all'}")


def _object(data: bytes) -> dict[str, float]:
    if not data.strip():
        raise NoReward("reward.json is empty")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NoReward(f"reward.json is not JSON: {error}") from None
    if isinstance(value, int | float):
        value = {"reward": value}
    if not isinstance(value, dict):
        raise NoReward("reward.json is neither an object nor a number")
    numbers = {str(key): float(item) for key, item in value.items() if isinstance(item, int | float) and _finite(item)}
    if "reward" in value and "reward" not in numbers:
        raise NoReward("`reward` in reward.json is no finite number")
    return numbers


def _text(data: bytes) -> float:
    text = data.decode("utf-8", "replace").strip()
    if not text:
        raise NoReward("reward.txt is empty")
    try:
        value = float(text)
    except ValueError:
        raise NoReward(f"reward.txt is not a number: {text[:80]!r}") from None
    if not _finite(value):
        raise NoReward("reward.txt is no finite number")
    return value


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond any float
        return False
