"""Wrong values that are tried with the solution: only such as make exactly their test fail become decoys."""

from __future__ import annotations

import random
import re

import pytest

from envfarm.envs.canaries import LANGUAGES, Suite, plant
from envfarm.envs.canaries.trial import MAX_SWAPS, RUNS, TRIALS, constant, prove
from envfarm.envs.canaries.words import distance

PYTHON = """
def check(function, text, want, strict=True):
    assert not strict or function(text) == want

def test_helper():
    check(str.strip, " alpha ", "alpha")
    check(str.strip, " beta ", "beta")

def test_loop():
    for text in ("one two", "one  two"):
        assert text.split() == ["one", "two"]

def test_idle():
    check(str.strip, " alpha ", "gamma", False)

class TestGroup:
    def test_méthode(self):
        check(str.upper, "é", "É"); check(str.title, "ab", "Ab")

def test_plain():
    assert "a".upper() == "A"
"""
NAMES = ("test_helper", "test_loop", "test_idle", "TestGroup::test_méthode", "test_plain")
TESTS = tuple(f"t.py::{name}" for name in NAMES)
UNCERTAIN = TESTS[:4]
GO = """package p

import "testing"

func TestRows(t *testing.T) {
\ttests := []struct {
\t\ttext string
\t\terr  bool
\t}{
\t\t{"alpha", true},
\t\t{"beta", false},
\t\t{"gamma", true}, // a comment that is aligned
\t\t{"delta", false},
\t}
\tfor _, test := range tests {
\t\tif (Parse(test.text) != nil) != test.err {
\t\t\tt.Errorf("%s", test.text)
\t\t}
\t}
}

func TestParallel(t *testing.T) {
\tt.Parallel()
\tif got := One(); got != 42 {
\t\tt.Errorf("got %d", got)
\t}
}
"""
OTHERS = {
    "cargo": (
        "tests/p.rs::gives",
        '#[test]\nfn gives() {\n    for one in all() {\n        assert_eq!(one.name(), "alpha");\n    }\n}\n',
    ),
    "node": (
        "test/p.js::gives",
        "test('gives', () => {\n  for (const one of all()) {\n    assert.equal(one.name, 'alpha');\n  }\n});\n",
    ),
}


def suite(first=TESTS, text=PYTHON):
    return Suite(LANGUAGES["pytest"], {"t.py": text}, {"t.py": "t.py"}, first, TESTS)


class Truthful:
    """Runs the functions of a module as pytest would; `spoilt` says which texts end the whole run."""

    def __init__(self, spoilt=lambda text: False):
        self.runs, self.spoilt = 0, spoilt

    async def __call__(self, planted):
        self.runs += 1
        text = planted.files["t.py"].decode()
        if self.spoilt(text):
            return None
        space: dict[str, object] = {}
        exec(compile(text, "t.py", "exec"), space)
        groups = {"": space, "TestGroup::": vars(space["TestGroup"])}
        return {
            f"t.py::{group}{name}": self.outcome(name, function, [None] if group else [])
            for group, members in groups.items()
            for name, function in members.items()
            if name.startswith("test_")
        }

    def outcome(self, name, function, arguments):
        try:
            function(*arguments)
        except AssertionError:
            return "failed"
        return "passed"


def test_a_test_without_a_plain_value_is_found():
    assert constant(suite(), random.Random(1)) == list(UNCERTAIN)
    assert constant(suite(first=TESTS[4:]), random.Random(1)) == []


@pytest.mark.parametrize("seed", range(20))
async def test_values_with_which_the_solution_fails_become_decoys(seed):
    rng, tests = random.Random(seed), suite()
    attempt = Truthful()
    swaps = await prove(tests, rng, attempt)
    assert attempt.runs == TRIALS
    assert swaps.keys() == {*UNCERTAIN} - {"t.py::test_idle"}
    assert all(0 < len(found) <= MAX_SWAPS for found in swaps.values())
    proved = Suite(tests.language, tests.files, tests.places, TESTS, TESTS, swaps=swaps)
    planted = plant(proved, rng)
    assert planted.constant == {"t.py::test_idle"}
    outcomes = await Truthful()(planted)
    assert len(planted.lineups) == len(TESTS)
    for lineup in planted.lineups:
        assert planted.holds(lineup, outcomes)
        assert lineup.test in (lineup.true, *lineup.decoys)


async def test_a_swap_that_spoils_the_run_of_all_is_found_by_halves():
    attempt = Truthful(spoilt=lambda text: re.search(r'" beta ", "(?!beta")', text))
    swaps = await prove(suite(first=TESTS[:1]), random.Random(3), attempt)
    [swap] = swaps["t.py::test_helper"]
    source = PYTHON[PYTHON.index("def test_helper") :]
    assert source[swap.start : swap.end] == '"alpha"'
    assert attempt.runs == 3 + 1  # both swaps, each of them, and the good one again


async def test_a_swap_that_fails_in_one_trial_only_is_none():
    attempt = Truthful()

    async def moody(planted):
        outcomes = await attempt(planted)
        by_chance = {decoy: "failed" for lineup in planted.lineups for decoy in lineup.decoys}
        return outcomes | by_chance if attempt.runs == 1 else outcomes

    swaps = await prove(suite(), random.Random(1), moody)
    assert "t.py::test_idle" not in swaps
    assert swaps


async def test_nothing_is_proved_where_no_run_can_be_judged():
    attempt = Truthful(spoilt=lambda text: True)
    assert await prove(suite(), random.Random(1), attempt) == {}
    assert attempt.runs <= RUNS


def swaps_of(runner, test, text, count, seed):
    language = LANGUAGES[runner]
    [template] = language.templates(test.partition("::")[0], text, [test])
    return text[template.start : template.end], language.swaps(text, template, count, random.Random(seed))


@pytest.mark.parametrize("count", [2, 3])
def test_turned_rows_leave_the_true_version_in_the_middle_no_more_often_than_luck_has_it(count):
    wins, runs = 0.0, 200
    for seed in range(runs):
        source, found = swaps_of("go", "p::TestRows", GO, count, seed)
        swap = found[0]
        texts = [source[swap.start : swap.end], *swap.wrong]
        assert len(set(texts)) == count + 1
        assert "gamma" not in texts[0] or "// a comment" in texts[0]
        sums = [sum(distance(one, other) for other in texts) for one in texts]
        wins += (sums[0] == min(sums)) / sums.count(min(sums))
    assert wins / runs < 1 / (count + 1) + 0.12  # over three standard deviations


def test_rows_that_a_comment_follows_stay_as_they_are():
    for seed in range(20):
        source, found = swaps_of("go", "p::TestRows", GO, 1, seed)
        assert all('{"gamma", true}, // a' in decoy for swap in found for decoy in swap.decoys(source))


def test_a_go_test_that_runs_in_parallel_has_its_literal_changed():
    source, [swap] = swaps_of("go", "p::TestParallel", GO, 3, 1)
    assert source[swap.start : swap.end] == "42"
    assert len({"42", *swap.wrong}) == 4


@pytest.mark.parametrize("runner", OTHERS)
def test_assertions_within_a_loop_are_suspected_too(runner):
    test, text = OTHERS[runner]
    source, [swap] = swaps_of(runner, test, text, 2, 1)
    assert "alpha" in source[swap.start : swap.end]
    assert all("alpha" not in decoy for decoy in swap.decoys(source))
