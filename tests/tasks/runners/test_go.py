"""The events of `go test -json`."""

from __future__ import annotations

import pytest

from envfarm.tasks.runners.go import Go

RUNNER = Go()


def test_every_kind_of_outcome_is_read(report):
    assert RUNNER.parse(report("go.json")) == {
        "example.com/m": "failed",
        "example.com/m/broken": "error",  # does not compile
        "example.com/m/panics": "failed",
        "example.com/m/panics::TestBefore": "passed",
        "example.com/m/panics::TestPanics": "failed",
        "example.com/m/sub": "failed",
        "example.com/m/sub::TestDie": "failed",
        "example.com/m/sub::TestOk": "passed",
        "example.com/m::TestFails": "failed",
        "example.com/m::TestPasses": "error",  # its output without a newline hides its end from Go 1.19
        "example.com/m::TestSkips": "skipped",
        "example.com/m::TestSubs": "failed",
        "example.com/m::TestSubs/a_b": "passed",
        "example.com/m::TestSubs/c/d": "failed",
    }


def test_a_test_that_began_and_did_not_end_is_an_error():
    assert RUNNER.parse(b'{"Action":"run","Package":"p.q","Test":"TestA"}\n') == {"p.q::TestA": "error"}


def test_a_line_that_is_cut_short_is_broken(report):
    with pytest.raises(ValueError, match="cut short"):
        RUNNER.parse(report("go.json")[:-10])


def test_a_pass_that_was_printed_does_not_outweigh_a_failure():
    event = '{{"Action":"{}","Package":"p.q","Test":"TestA"}}\n'
    for actions in (("run", "pass", "fail"), ("run", "fail", "pass")):
        assert RUNNER.parse("".join(map(event.format, actions)).encode()) == {"p.q::TestA": "failed"}


@pytest.mark.parametrize(
    ("path", "package"),
    [
        ("a/b_test.go", "./a"),
        ("b_test.go", "."),
        ("internal", "./internal"),
        ("github.com/a/b", "github.com/a/b"),
    ],
)
def test_paths_become_packages(path, package):
    assert f" {package} >" in RUNNER.command([path], "/tmp/report")


def test_without_paths_every_package_is_run():
    assert " ./... >" in RUNNER.command([], "/tmp/report")


def test_which_paths_hold_tests():
    assert [RUNNER.is_test(path) for path in ("a/b_test.go", "a/testdata/x", "a/b.go", "testing/x.go")] == [
        True,
        True,
        False,
        False,
    ]
