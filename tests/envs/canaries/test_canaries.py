"""Canaries and decoys: what a truthful runner says of them, and that nobody can guess them."""

from __future__ import annotations

import ast
import random

import pytest

from envfarm.envs.canaries import LANGUAGES, canaries, decoys
from envfarm.envs.canaries.words import call_arguments, other_literal, other_number, other_text, pair

SEEDS = range(60)
PYTHON = '''
import unittest

def add(a, b):
    return a + b

def test_adds():
    assert add(1, 2) == 3

def test_joins():
    want = "a-b"
    assert add("a", "-b") == want

def test_lists():
    result = add([1], [2])
    assert result == [1, 2]
    assert len(result) == 2

def test_gives_up_early():
    if add(1, 1) == 2:
        return
    assert add(1, 1) == 3

class TestGroup:
    def test_é_text(self):
        text = """
  left
"""
        assert add(text, "") == text

class Old(unittest.TestCase):
    def test_unit(self):
        self.assertEqual(add(2, 2), 4)
'''
PYTHON_TESTS = (
    *(f"t.py::test_{name}" for name in ("adds", "joins", "lists", "gives_up_early")),
    "t.py::TestGroup::test_é_text",
    "t.py::Old::test_unit",
)
GO = """package p

import "testing"

func TestOne(t *testing.T) {
\tif got := One(); got != 1 {
\t\tt.Errorf("got %d", got)
\t}
}

func TestTwo(t *testing.T) {
\tt.Log("two")
}
"""
RUST = """use p::one;

#[test]
fn gives_one() {
    assert_eq!(one(), 1);
}

#[test]
#[should_panic]
fn panics() {
    one().unwrap();
}
"""
NODE = """const test = require('node:test');
const assert = require('assert');

test('gives one', () => {
  assert.strictEqual(one(), 1);
});

test('calls back', (done) => {
  one(done);
});
"""
TAPE = """var test = require('tape');

test('parse()', function (t) {
    t.test('parses a simple string', function (st) {
        st.deepEqual(parse('0=foo'), { 0: 'foo' });
        st.end();
    });

    t.end();
});
"""
SAMPLES = {
    "pytest": ("t.py", "t.py", PYTHON, PYTHON_TESTS),
    "go": ("p_test.go", "example.com/p", GO, ("example.com/p::TestOne", "example.com/p::TestTwo")),
    "cargo": ("tests/p.rs", "tests/p.rs", RUST, ("tests/p.rs::gives_one", "tests/p.rs::panics")),
    "node": ("test/p.js", "test/p.js", NODE, ("test/p.js::gives one", "test/p.js::calls back")),
    "tape": ("test/p.js", "test/p.js", TAPE, ("test/p.js::parses a simple string",)),
    "jest": ("test/p.js", "test/p.js", "it.each([1])('%i', () => {});\n", ("test/p.js::1",)),
}


def plant(kind, runner, seed):
    path, place, text, tests = SAMPLES[runner]
    return kind(LANGUAGES[runner], {path: text}, {path: place}, tests[:1], tests, random.Random(seed))


def outcome(text, test):
    """Run one test of a module as a truthful runner does."""
    space = {"__name__": "t"}
    exec(compile(text, "t.py", "exec"), space)
    *scope, name = test.split("::")[1:]
    function = getattr(space[scope[0]](name) if scope == ["Old"] else space[scope[0]](), name) if scope else space[name]
    try:
        function()
    except AssertionError:
        return "failed"
    return "passed"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [canaries, decoys])
def test_python_canaries_and_decoys_come_out_as_they_must(kind, seed):
    planted = plant(kind, "pytest", seed)
    text = planted.files["t.py"].decode()
    assert {outcome(text, test) for test in planted.must_fail} == {"failed"}
    assert {outcome(text, test) for test in planted.must_pass} == {"passed"}


@pytest.mark.parametrize("seed", SEEDS)
def test_real_tests_stay_as_they_are_among_canaries(seed):
    text = plant(canaries, "pytest", seed).files["t.py"].decode()
    assert {outcome(text, test) for test in PYTHON_TESTS} == {"passed"}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("runner", SAMPLES)
def test_every_name_is_given_once(runner, seed):
    planted = plant(canaries, runner, seed)
    _, _, text, tests = SAMPLES[runner]
    assert planted.must_fail
    assert planted.must_pass
    assert not planted.must_fail.keys() & planted.must_pass.keys()
    assert not {*planted.must_fail, *planted.must_pass} & set(tests)
    assert not any(name in text for name in planted.names)
    new = "\n".join(data.decode() for data in planted.files.values())
    assert all(name in new for name in planted.names)


@pytest.mark.parametrize("runner", SAMPLES)
def test_names_and_places_differ_from_run_to_run(runner):
    runs = [plant(canaries, runner, seed) for seed in SEEDS]
    assert len({frozenset(run.must_fail) for run in runs}) > len(runs) * 0.8
    assert len({frozenset(run.files.items()) for run in runs}) == len(runs)


def test_files_of_one_package_share_no_name():
    files = {f"{name}_test.go": GO.replace("One", f"One{name.upper()}") for name in "abcdefgh"}
    tests = [f"example.com/p::TestOne{name.upper()}" for name in "abcdefgh"]
    for seed in SEEDS:
        planted = canaries(
            LANGUAGES["go"], files, dict.fromkeys(files, "example.com/p"), tests, tests, random.Random(seed)
        )
        text = "\n".join(data.decode() for data in planted.files.values())
        added = [line for line in text.splitlines() if any(f"func {name}(" in line for name in planted.names)]
        assert len(added) == len(set(added)) >= 2 * len(files)


@pytest.mark.parametrize("runner", ["pytest", "go", "cargo", "node", "tape"])
def test_decoys_bear_the_name_of_the_real_test_and_stand_beside_canaries(runner):
    planted = plant(decoys, runner, 1)
    tests = SAMPLES[runner][3]
    assert tests[0] in planted.must_fail
    assert len(planted.must_fail) > 1
    assert planted.must_pass


def test_python_leaves_alone_what_may_end_before_its_assertions():
    templates = LANGUAGES["pytest"].templates("t.py", PYTHON, PYTHON_TESTS)
    assert "t.py::test_gives_up_early" not in {template.test for template in templates}
    ast.parse(PYTHON)


def test_rust_leaves_alone_what_should_panic():
    assert [t.name for t in LANGUAGES["cargo"].templates("tests/p.rs", RUST, SAMPLES["cargo"][3])] == ["gives_one"]


def test_javascript_leaves_alone_what_waits_for_a_callback():
    assert [t.name for t in LANGUAGES["node"].templates("test/p.js", NODE, SAMPLES["node"][3])] == ["gives one"]


@pytest.mark.parametrize(
    ("outcomes", "complete", "evidence"),
    [
        ({"real": "passed", "fail": "failed", "pass": "passed"}, True, None),
        ({"real": "passed", "fail": "error", "pass": "passed"}, True, None),
        ({"real": "passed", "fail": "passed", "pass": "passed"}, True, "cannot pass"),
        ({"real": "failed", "fail": "passed", "pass": "passed"}, True, "cannot pass"),
        ({"real": "passed", "pass": "passed"}, True, "not reported at all"),
        ({"real": "passed", "fail": "failed"}, True, "cannot fail"),
        ({"real": "passed", "fail": "failed", "pass": "failed"}, True, "cannot fail"),
        ({"real": "passed", "fail": "failed", "pass": "skipped"}, True, "cannot fail"),
        ({"real": "failed"}, True, None),  # a file that takes its canaries with it
        ({}, True, None),
        ({"real": "passed", "pass": "passed"}, False, None),
        ({"real": "passed", "fail[1]": "passed"}, False, "cannot pass"),
        ({"real": "passed", "pass": "failed"}, False, "cannot fail"),
    ],
)
def test_what_no_truthful_report_says(outcomes, complete, evidence):
    planted = plant(canaries, "pytest", 0)
    planted.must_fail, planted.must_pass = {"t.py::fail": "t.py"}, {"t.py::pass": "t.py"}
    wrong = list(
        planted.wrong({f"t.py::{name}": value for name, value in outcomes.items()}, complete=complete).values()
    )
    assert [evidence in sentence for sentence in wrong] == [True] if evidence else wrong == []


def test_a_copy_stays_in_the_block_of_its_test():
    one = "    t.test('one {0}', function (st) {{\n        st.equal(f(), 1);\n        st.end();\n    }});\n"
    text = "".join(
        f"test('{name}', function (t) {{\n{one.format(name)}\n    t.end();\n}});\n\n" for name in ("first", "second")
    )
    tests = ["t.js::one first", "t.js::one second"]
    for seed in SEEDS:
        planted = canaries(LANGUAGES["tape"], {"t.js": text}, {"t.js": "t.js"}, tests[:1], tests, random.Random(seed))
        first, second = planted.files["t.js"].decode().split("test('second', ")
        for block, real in ((first, "one first"), (second, "one second")):
            lines = [line for line in block.splitlines() if line.startswith("    t.test(")]
            assert any(real in line for line in lines)
            assert block.rstrip().endswith("});")
            assert block.index("\n    t.end()") > max(block.index(line) for line in lines)


def test_a_canary_that_was_struck_shows_nothing():
    planted = plant(canaries, "pytest", 0)
    forged = dict.fromkeys([*planted.must_fail, "t.py::test_adds"], "passed")
    planted.strike([*planted.must_fail, *planted.must_pass])
    assert planted.wrong(forged) == {}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wrong_value_is_another_of_the_same_look(seed):
    rng = random.Random(seed)
    for text in ("abc", "A1", "", "é!", "9"):
        assert other_text(text, rng) != text
    for number in (0, 1, -3, 200, 70000):
        assert other_number(number, rng) != number
    one, two = pair(rng)
    assert one != two
    assert other_literal("'ab'", rng) not in ("'ab'", None)
    assert other_literal("name", rng) is None


def test_arguments_are_split_where_the_call_splits_them():
    source = "(f(a, b), 'x,(y', [1, 2]);"
    spans = call_arguments(source, 0)
    assert [source[start:end] for start, end in spans] == ["f(a, b)", "'x,(y'", "[1, 2]"]
    assert call_arguments("(a, b", 0) is None
