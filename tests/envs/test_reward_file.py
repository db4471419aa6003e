"""Harbor's reward files."""

from __future__ import annotations

import pytest

from envfarm.envs.reward_file import NoReward, read_reward


@pytest.mark.parametrize(
    ("json_file", "text_file", "reward", "parts"),
    [
        (None, b"1\n", 1.0, {}),
        (None, b" 0.25 ", 0.25, {}),
        (b'{"reward": 0.5, "speed": 2, "style": 1}', b"1", 0.5, {"speed": 2.0, "style": 1.0}),
        (b'{"reward": 1, "note": "fine", "list": [1]}', None, 1.0, {}),
        (b'{"speed": 2}', b"1", 1.0, {"speed": 2.0}),
        (b'{"accuracy": 0.75}', None, 0.75, {"accuracy": 0.75}),
        (b"0.5", None, 0.5, {}),
        (b'{"reward": true}', None, 1.0, {}),
        (b'{"reward": 1, "huge": 1e999}', None, 1.0, {}),
    ],
)
def test_json_counts_first_and_its_numbers_are_parts(
    json_file: bytes | None, text_file: bytes | None, reward: float, parts: dict[str, float]
) -> None:
    assert read_reward(json_file, text_file) == (reward, parts)


@pytest.mark.parametrize(
    ("json_file", "text_file", "why"),
    [
        (None, None, "neither reward.json nor reward.txt"),
        (None, b"", "reward.txt is empty"),
        (None, b"passed", "reward.txt is not a number: 'passed'"),
        (None, b"nan", "no finite number"),
        (b"", b"1", "reward.json is empty"),
        (b"{", b"1", "reward.json is not JSON"),
        (b"[" * 100_000, None, "reward.json is not JSON"),
        (b"[1]", None, "neither an object nor a number"),
        (b"{}", None, "no `reward`, only no number at all"),
        (b'{"a": 1, "b": 2}', None, "no `reward`, only a, b"),
        (b'{"reward": "1"}', b"1", "`reward` in reward.json is no finite number"),
        (b'{"reward": NaN}', b"1", "`reward` in reward.json is no finite number"),
        (b'{"reward": ' + b"9" * 400 + b"}", None, "`reward` in reward.json is no finite number"),
    ],
)
def test_what_is_no_reward_is_an_error_and_not_0(json_file: bytes | None, text_file: bytes | None, why: str) -> None:
    with pytest.raises(NoReward, match=".*" + why.replace("[", r"\[")):
        read_reward(json_file, text_file)
