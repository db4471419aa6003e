"""Which tests count, from what three runs of each side gave."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from envfarm.tasks.factory.outcomes import MOST, NotSound, sort_out
from envfarm.tasks.runners.base import Outcome

Outcomes = dict[str, Outcome]

KEPT: Outcomes = {"t.py::stays": "passed", "t.py::fixed": "passed"}
BROKEN: Outcomes = {"t.py::stays": "passed", "t.py::fixed": "failed"}


def test_tells_the_fix_by_what_failed_and_passes() -> None:
    found = sort_out([BROKEN] * 3, [KEPT] * 3)
    assert found.fail_to_pass == ("t.py::fixed",)
    assert found.pass_to_pass == ("t.py::stays",)
    assert found.left_out == {}


def test_counts_a_test_that_is_new_in_a_file_that_loads() -> None:
    before: Outcomes = {"t.py::stays": "passed"}
    assert sort_out([before] * 3, [KEPT] * 3).fail_to_pass == ("t.py::fixed",)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (["failed", "passed", "failed"], ["passed"] * 3, "flaky"),
        (["failed"] * 3, ["passed", "passed", "failed"], "flaky"),
        (["failed"] * 3, ["failed"] * 3, "not passed after the fix"),
        (["failed"] * 3, ["skipped"] * 3, "not passed after the fix"),
        (["skipped"] * 3, ["passed"] * 3, "skipped before the fix"),
    ],
)
def test_leaves_out_what_cannot_be_relied_on(before: list[Outcome], after: list[Outcome], reason: str) -> None:
    found = sort_out(
        [BROKEN | {"t.py::odd": outcome} for outcome in before], [KEPT | {"t.py::odd": outcome} for outcome in after]
    )
    assert found.left_out == {reason: 1}
    assert "t.py::odd" not in found.fail_to_pass + found.pass_to_pass


@pytest.mark.parametrize(
    "name",
    [
        "t.py::opens[/tmp/tmpab12/x]",
        "t.py::repr[<object at 0x7f3c9e0d1a90>]",
        "t.py::id[0d2c6d2e-9c43-4f7a-8f0e-2b7f7f1f2a11]",
        "t.py::now[1763920000.25]",
        "t.py::day[{today}]",
    ],
)
def test_takes_no_id_that_holds_a_time_a_number_or_a_path_of_the_run(name: str) -> None:
    name = name.replace("{today}", f"{datetime.now(UTC):%Y-%m-%d}")  # not that of the import
    found = sort_out([BROKEN | {name: "passed"}] * 3, [KEPT | {name: "passed"}] * 3)
    assert found.left_out == {"ids that change from run to run": 1}


def test_takes_no_id_that_is_there_only_once() -> None:
    after = [KEPT | {f"t.py::random[{number}]": "passed"} for number in (17, 4, 93)]
    assert sort_out([BROKEN] * 3, after).left_out == {"ids that change from run to run": 3}


def test_a_file_that_does_not_load_is_a_missing_feature() -> None:
    before: Outcomes = BROKEN | {"new.py": "error"}
    after: Outcomes = KEPT | {"new.py::a": "passed", "new.py::b": "passed"}
    found = sort_out([before] * 3, [after] * 3)
    assert found.left_out == {"in a file that does not load before the fix": 2}
    with pytest.raises(NotSound, match=r"no test fails .* \(left out: 2 in a file that does not load before the fix"):
        sort_out([{"new.py": "error", "t.py::stays": "passed"}] * 3, [{**after, "t.py::fixed": "skipped"}] * 3)


def test_a_crash_takes_no_other_test_with_it_into_the_lists() -> None:
    before: Outcomes = {"t.py::stays": "passed", "t.py::fixed": "error", "c.py": "error", "c.py::a": "passed"}
    after: Outcomes = KEPT | {"t.py::later": "passed", "c.py::a": "passed", "c.py::b": "passed"}
    found = sort_out([before] * 3, [after] * 3)
    assert found.fail_to_pass == ("t.py::fixed",)
    assert found.pass_to_pass == ("c.py::a", "t.py::stays")
    assert found.left_out == {"not run before the fix, because another test crashed": 2}


def test_too_many_in_one_file_are_a_missing_feature() -> None:
    many = [f"big.py::test_{number}" for number in range(MOST + 1)]
    before: Outcomes = BROKEN | dict.fromkeys(many, "failed")
    after: Outcomes = KEPT | dict.fromkeys(many, "passed")
    found = sort_out([before] * 3, [after] * 3)
    assert found.fail_to_pass == ("t.py::fixed",)
    assert sum(found.left_out.values()) == MOST + 1


def test_leaves_out_tests_in_files_that_the_agent_may_write() -> None:
    inside: Outcomes = {"src/lib.rs::tests::a": "passed"}
    found = sort_out([BROKEN | inside] * 3, [KEPT | inside] * 3, ours=lambda file: file == "t.py")
    assert found.pass_to_pass == ("t.py::stays",)
    assert found.left_out == {"in a file that the agent may write": 1}


def test_needs_tests_of_both_kinds() -> None:
    with pytest.raises(NotSound, match="no test fails before the fix"):
        sort_out([KEPT] * 3, [KEPT] * 3)
    with pytest.raises(NotSound, match="no test passes before and after"):
        sort_out([{"t.py::fixed": "failed"}] * 3, [{"t.py::fixed": "passed"}] * 3)
