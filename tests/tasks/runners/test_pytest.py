"""pytest's JUnit reports."""

from __future__ import annotations

import pytest

from envfarm.tasks.runners.pytest import Pytest

RUNNER = Pytest()


def test_every_kind_of_outcome_is_read_under_its_node_id(report):
    assert RUNNER.parse(report("pytest.xml")) == {
        "tests/sub/test_c.py::TestD::test_inh": "passed",
        "tests/test_a.py::Old::test_subtests": "passed",
        "tests/test_a.py::Old::test_unit": "passed",
        "tests/test_a.py::TestGroup::TestInner::test_deep": "passed",
        "tests/test_a.py::TestGroup::test_in_class": "passed",
        "tests/test_a.py::TestInherits::test_shared": "passed",
        "tests/test_a.py::test_fails": "failed",
        "tests/test_a.py::test_parameters[<&>]": "passed",
        "tests/test_a.py::test_parameters[\\xe9::z]": "passed",
        "tests/test_a.py::test_parameters[a b]": "failed",
        "tests/test_a.py::test_parameters[x/y.py]": "passed",
        "tests/test_a.py::test_passes": "passed",
        "tests/test_a.py::test_setup_breaks": "error",
        "tests/test_a.py::test_skipped": "skipped",
        "tests/test_a.py::test_teardown_breaks": "error",
        "tests/test_a.py::test_xfails": "skipped",
        "tests/test_a.py::test_xpasses": "passed",
    }


def test_a_file_that_cannot_be_collected_is_an_error_under_its_name(report):
    outcomes = RUNNER.parse(report("pytest_uncollected.xml"))
    assert outcomes == {"tests/deep/test_cannot_load.py": "error"}
    assert RUNNER.agrees(outcomes, 2)


def test_a_report_that_is_cut_short_is_broken(report):
    with pytest.raises(ValueError, match="not a JUnit report"):
        RUNNER.parse(report("pytest.xml")[:-40])


def test_entities_are_not_expanded():
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><testsuites>&b;</testsuites>'
    with pytest.raises(ValueError, match="no document type"):
        RUNNER.parse(bomb)


def test_of_two_outcomes_for_one_id_the_worse_counts():
    case = '<testcase classname="a" name="test_b" file="a.py">{}</testcase>'
    for first, second in (("", "<failure/>"), ("<failure/>", "")):
        text = f"<testsuites>{case.format(first)}{case.format(second)}</testsuites>"
        assert RUNNER.parse(text.encode()) == {"a.py::test_b": "failed"}


def test_a_module_that_is_skipped_as_a_whole_agrees_with_no_tests_collected():
    assert RUNNER.agrees({"tests/test_a.py": "skipped"}, 5)
    assert not RUNNER.agrees({"tests/test_a.py::test_b": "passed"}, 5)


@pytest.mark.parametrize(
    ("path", "test"),
    [
        ("tests/data/x.json", True),
        ("pkg/Test/x.py", True),
        ("pkg/test_x.py", True),
        ("pkg/x_test.py", True),
        ("conftest.py", True),
        ("pkg/testing.py", False),
        ("pkg/latest/x.py", False),
        ("src/contest.py", False),
    ],
)
def test_which_paths_hold_tests(path, test):
    assert RUNNER.is_test(path) is test


def test_the_files_of_ids_are_run():
    ids = ["tests/a.py::test_x", "tests/b.py::T::test_y[p::q]", "tests/a.py::test_z"]
    assert RUNNER.paths(ids) == ["tests/a.py", "tests/b.py"]
