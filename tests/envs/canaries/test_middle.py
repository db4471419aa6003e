"""Whoever compares the versions of a test with each other, and runs nothing, must not find the true one."""

from __future__ import annotations

import random

import pytest

from envfarm.envs.canaries import LANGUAGES
from envfarm.envs.canaries.words import distance, other_numbers

RUNS = 100
MARGIN = 0.16  # over three standard deviations of as many runs

PYTHON = """def test_one():
    assert parse("user-id: {}, name: {}") == %s
"""
GO = """func TestOne(t *testing.T) {
\tif got := One("alpha", "beta"); got != %s {
\t\tt.Errorf("got %%v", got)
\t}
}
"""
RUST = """#[test]
fn gives_one() {
    assert_eq!(
        one("alpha", "beta"),
        %s,
    );
}
"""
JAVASCRIPT = """test('gives one', function (t) {
    t.deepEqual(
        one('alpha', 'beta', { alphabet: 12 }),
        %s
    );

    t.end();
});
"""
TESTS = {
    "pytest": ("t::test_one", PYTHON),
    "go": ("t::TestOne", GO),
    "cargo": ("t::gives_one", RUST),
    "tape": ("t::gives one", JAVASCRIPT),
}
VALUES = {
    "pytest": ('"user_id"', '{"user": ["a-b", 12], "n": 1}', "200", "[]", "f(1)", 'b"q"'),
    "go": ('"alphas"', "1", "200", "f(1)", '"q"'),
    "cargo": ('"alphas"', "1", "200", "f(1)", '"q"'),
    "tape": ("'alphas'", "{ alpha: [] }", "{ a: ['b', 12] }", "200", "f(1)", "[]"),
}
CASES = [(runner, value) for runner, values in VALUES.items() for value in values]


def versions(runner, value, seed, count=4):
    test, form = TESTS[runner]
    text, language = form % value, LANGUAGES[runner]
    [template] = language.templates("t", text, [test])
    return language.versions(text, template, [template.name] * count, random.Random(seed))


def middle(texts):
    """The chance that a chooser of the text with the least distance from all others takes the first."""
    sums = [sum(distance(one, other) for other in texts) for one in texts]
    return (sums[0] == min(sums)) / sums.count(min(sums))


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize(("runner", "value"), CASES)
def test_the_version_in_the_middle_is_the_true_one_no_more_often_than_luck_has_it(runner, value, count):
    wins = 0.0
    for seed in range(RUNS):
        texts = versions(runner, value, seed, count)
        assert len(set(texts)) == count
        lines = [text.splitlines() for text in texts]
        changed = [column for column in zip(*lines, strict=True) if len(set(column)) > 1]
        assert len(changed) == 1  # all have as many lines, and differ in the same
        wins += middle(changed[0])
    assert wins / RUNS < 1 / count + MARGIN


@pytest.mark.parametrize(("number", "ranks"), [(3, 4), (12, 4), (126, 2), (127, 1), (200, 4), (255, 1), (70000, 4)])
def test_a_true_number_stands_anywhere_in_its_line_up_that_its_type_allows(number, ranks):
    found = [other_numbers(number, 3, random.Random(seed)) for seed in range(RUNS)]
    assert len({sum(other < number for other in others) for others in found}) == ranks


def test_a_constant_line_stands_in_the_true_version_too():
    for runner in TESTS:
        true, *wrong = versions(runner, "f(1)", 1)
        extra = set(true.splitlines()) - set((TESTS[runner][1] % "f(1)").splitlines())
        assert extra
        assert all(len(other) == len(true) for other in wrong)
