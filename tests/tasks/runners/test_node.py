"""The reports of node:test, tape, mocha and jest."""

from __future__ import annotations

import pytest

from envfarm.tasks.runners.node import Jest, Mocha, Node, Tape


def test_node_names_leaves_by_their_suites_and_passes_over_what_failures_print(report):
    assert Node().parse(report("node.tap")) == {
        "test/a.test.js::fails": "failed",
        "test/a.test.js::parent > child": "passed",
        "test/a.test.js::passes": "passed",
        "test/a.test.js::skipped": "skipped",
        "test/a.test.js::suite > breaks": "failed",
        "test/a.test.js::suite > deep > leaf": "passed",
        "test/a.test.js::suite > inner": "passed",
        "test/a.test.js::todo": "skipped",
        "test/a.test.js::with # sharp": "passed",
        "test/b.test.js": "error",  # left before its plan
    }


def test_tape_joins_the_assertions_of_a_test(report):
    assert Tape().parse(report("tape.tap")) == {
        "test/tape.js::passes": "passed",
        "test/tape.js::fails": "failed",
        "test/tape.js::words": "passed",  # a comment looks like the next test's head
        "test/tape.js::inner": "passed",
    }


def test_mocha_reads_the_object_behind_what_tests_printed(report):
    assert Mocha().parse(report("mocha.json")) == {
        'test/mocha.spec.js::suite deep "before each" hook for "hooked"': "failed",
        "test/mocha.spec.js::suite fails": "failed",
        "test/mocha.spec.js::suite passes": "passed",
        "test/mocha.spec.js::suite pending": "skipped",
        "test/mocha.spec.js::suite skipped": "skipped",
        "test/mocha.spec.js::top": "passed",
    }


def test_jest_names_a_file_that_could_not_be_run(report):
    assert Jest().parse(report("jest.json")) == {
        "test/jest.spec.js::suite > fails": "failed",
        "test/jest.spec.js::suite > later": "skipped",
        "test/jest.spec.js::suite > passes": "passed",
        "test/jest.spec.js::suite > skipped": "skipped",
        "test/jest.spec.js::top": "passed",
        "test/jestbroken.spec.js": "error",
    }


@pytest.mark.parametrize(("kind", "file"), [(Mocha, "mocha.json"), (Jest, "jest.json")])
def test_json_that_is_cut_short_is_broken(kind, file, report):
    with pytest.raises(ValueError, match="cut short"):
        kind().parse(report(file)[:-30])


def test_mocha_that_could_not_load_a_file_names_no_test_and_agrees_with_failure_only():
    outcomes = Mocha().parse(b"# envfarm: folder /testbed\nprinted while it was loaded\n")
    assert outcomes == {}
    assert Mocha().agrees(outcomes, 1)
    assert not Mocha().agrees(outcomes, 0)


@pytest.mark.parametrize(("kind", "file"), [(Node, "node.tap"), (Tape, "tape.tap")])
def test_tap_that_is_cut_short_is_an_error_under_the_file(kind, file, report):
    outcomes = kind().parse(report(file).partition(b"\n1..")[0])
    assert "error" in outcomes.values()


@pytest.mark.parametrize(
    ("path", "test"),
    [
        ("test/x.js", True),
        ("src/a.test.js", True),
        ("src/a.spec.tsx", True),
        ("a-test.mjs", True),
        ("test.js", True),
        ("src/__tests__/a.js", True),
        ("src/contest.js", False),
        ("src/tester.js", False),
    ],
)
def test_which_paths_hold_tests(path, test):
    assert Node().is_test(path) is test
