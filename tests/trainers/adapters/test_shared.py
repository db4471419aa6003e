"""What the adapters share."""

from __future__ import annotations

import pytest

from envfarm.trainers.adapters.shared import Groups


def test_groups_of_tasks_that_are_played_beside_each_other() -> None:
    groups = Groups(2)
    places = [groups.place(task) for task in ("a", "b", "a", "b", "a")]
    assert [place["rollout_index"] for place in places] == [0, 0, 1, 1, 0]
    first, other, second, another, third = [place["group_id"] for place in places]
    assert (first, other) == (second, another)
    assert len({first, other, third}) == 3


def test_one_is_no_group() -> None:
    assert Groups(1).place("a") == {}
    with pytest.raises(ValueError, match="size: 0 is no size"):
        Groups(0)
