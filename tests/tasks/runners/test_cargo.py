"""The log of `cargo test`."""

from __future__ import annotations

import pytest

from envfarm.tasks.runners.cargo import Cargo

RUNNER = Cargo()


def test_every_kind_of_outcome_is_read(report):
    assert RUNNER.parse(report("cargo.txt")) == {
        "src/lib.rs::tests::unit": "passed",
        "tests/one.rs::fails": "failed",
        "tests/one.rs::ignored": "skipped",
        "tests/one.rs::inner::deep": "passed",
        "tests/one.rs::panics": "passed",
        "tests/one.rs::passes": "passed",
        "tests/one.rs::should_but_does_not": "failed",
        "tests/two.rs": "error",  # died of a signal
    }


def test_a_binary_without_a_result_line_is_an_error():
    log = b"     Running tests/a.rs (target/a)\n\nrunning 1 test\ntest b ... ok\n"
    assert RUNNER.parse(log) == {"tests/a.rs::b": "passed", "tests/a.rs": "error"}


def test_an_ok_that_was_printed_does_not_outweigh_a_failure():
    log = b"     Running tests/a.rs (target/a)\ntest b ... FAILED\ntest b ... ok\ntest result: ok. 1 passed\n"
    assert RUNNER.parse(log) == {"tests/a.rs::b": "failed"}


def test_a_build_that_fails_names_no_test_and_agrees_with_failure_only():
    outcomes = RUNNER.parse(b"error[E0433]: failed to resolve\nerror: could not compile `m`\n")
    assert outcomes == {}
    assert RUNNER.agrees(outcomes, 101)
    assert not RUNNER.agrees(outcomes, 0)


@pytest.mark.parametrize(
    ("path", "option"),
    [
        ("tests/a.rs", "--test a "),
        ("tests/a/main.rs", "--test a "),
        ("src/lib.rs", "--lib "),
        ("src/main.rs", "--bins "),
        ("src/bin/x.rs", "--bins "),
    ],
)
def test_a_path_selects_its_binary(path, option):
    assert f"--no-fail-fast {option}-- " in RUNNER.command([path], "/tmp/report")


def test_which_paths_hold_tests():
    paths = ("tests/a.rs", "src/foo/tests.rs", "benches/b.rs", "src/testing.rs", "src/lib.rs")
    assert [RUNNER.is_test(path) for path in paths] == [True, True, True, False, False]
