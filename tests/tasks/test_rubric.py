"""A rubric's leaves are told apart, and what is wrong with them is named."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from envfarm.tasks.rubric import Leaf, Rubric, RubricTable


def test_each_leaf_has_its_own_id() -> None:
    leaf = Leaf(id="a", statement="It is clear.")
    with pytest.raises(ValidationError, match="'a' is there twice"):
        Rubric(leaves=(leaf, leaf))
    with pytest.raises(ValidationError):
        Rubric(leaves=())


@pytest.mark.parametrize("weight", [0, 1, -0.5])
def test_an_opinion_is_only_a_part_of_a_reward(weight: float) -> None:
    with pytest.raises(ValidationError):
        RubricTable(weight=weight, leaves=(Leaf(id="a", statement="It is clear."),))
