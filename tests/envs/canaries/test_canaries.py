"""Line-ups and canaries: what a truthful runner says of them, and that nobody can guess them."""

from __future__ import annotations

import ast
import random
import re

import pytest

from envfarm.envs.canaries import LANGUAGES, Suite, plant
from envfarm.envs.canaries.planted import LineUp, Planted
from envfarm.envs.canaries.python_values import other_values
from envfarm.envs.canaries.words import (
    call_arguments,
    other_literals,
    other_numbers,
    other_texts,
    pair,
)

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


def suite(runner):
    path, place, text, tests = SAMPLES[runner]
    return Suite(LANGUAGES[runner], {path: text}, {path: place}, tests[:1], tests)


def planted_in(runner, seed, known=()):
    return plant(suite(runner), random.Random(seed), known)


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
def test_of_a_line_up_only_the_true_version_passes(seed):
    planted = planted_in("pytest", seed)
    text = planted.files["t.py"].decode()
    assert planted.lineups[0].test == "t.py::test_adds"
    assert [len(lineup.decoys) for lineup in planted.lineups] == [3, 1]
    for lineup in planted.lineups:
        assert outcome(text, lineup.true) == "passed"
        assert {outcome(text, test) for test in lineup.decoys} == {"failed"}
        assert lineup.test in (lineup.true, *lineup.decoys)
    assert {outcome(text, test) for test in planted.must_pass} == {"passed"}


@pytest.mark.parametrize("seed", SEEDS)
def test_tests_outside_line_ups_stay_as_they_are(seed):
    planted = planted_in("pytest", seed)
    text = planted.files["t.py"].decode()
    others = set(PYTHON_TESTS) - {lineup.test for lineup in planted.lineups}
    assert {outcome(text, test) for test in others} == {"passed"}


MIXIN = """class Mixin:
    def test_copies(self):
        self.assertEqual(self.make(1), 1)
"""
HEIRS = """import unittest
from tests import Mixin

class OneTest(unittest.TestCase, Mixin):
    make = int

class TwoTest(OneTest):
    make = float
"""


def test_tests_that_are_inherited_from_another_file_stand_in_line_ups_there():
    tests = ("tests/t.py::OneTest::test_copies", "tests/t.py::TwoTest::test_copies")
    files, helpers = {"tests/t.py": HEIRS}, {"tests/__init__.py": MIXIN}
    planted = plant(
        Suite(LANGUAGES["pytest"], files, {"tests/t.py": "tests/t.py"}, tests, tests, helpers), random.Random(1)
    )
    space: dict[str, object] = {}
    exec(planted.files["tests/__init__.py"].decode(), space)
    heirs = HEIRS.replace("from tests import Mixin\n", "")
    assert [lineup.test for lineup in planted.lineups] == list(tests)
    for lineup in planted.lineups:
        for test in (lineup.true, *lineup.decoys):
            exec(compile(heirs, "t.py", "exec"), space)
            _, group, method = test.split("::")
            case = space[group](method)
            assert case.run().wasSuccessful() == (test == lineup.true)


def test_neither_name_nor_place_says_which_version_is_true():
    names, places = set(), set()
    for seed in SEEDS:
        planted = planted_in("pytest", seed)
        lineup = planted.lineups[0]
        text = planted.files["t.py"].decode()
        order = sorted((lineup.true, *lineup.decoys), key=lambda test: text.index(f"def {test[6:]}("))
        places.add(order.index(lineup.true))
        names.add(([lineup.true, *lineup.decoys]).index(lineup.test))
    assert places == {0, 1, 2, 3}
    assert names == {0, 1, 2, 3}


def test_decoys_differ_from_the_true_version_in_one_place():
    for seed in SEEDS:
        planted = planted_in("pytest", seed)
        lines = [line for line in planted.files["t.py"].decode().splitlines() if "assert add(1, 2) ==" in line]
        assert len(set(lines)) == 4
        assert len({line.rpartition(" ")[0] for line in lines}) == 1


def test_what_a_run_had_under_its_own_name_the_next_has_not():
    for seed in SEEDS:
        lineup = planted_in("pytest", seed, known=["t.py::test_adds"]).lineups[0]
        assert lineup.test in lineup.decoys


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("runner", SAMPLES)
def test_every_name_is_given_once(runner, seed):
    planted = planted_in(runner, seed)
    _, _, text, tests = SAMPLES[runner]
    assert planted.must_fail or planted.lineups
    assert planted.must_pass
    assert not planted.must_fail.keys() & planted.must_pass.keys()
    assert not {*planted.must_fail, *planted.must_pass} & set(tests)
    assert not any(name in text for name in planted.names)
    new = "\n".join(data.decode() for data in planted.files.values())
    assert all(name in new for name in planted.names)


@pytest.mark.parametrize("runner", SAMPLES)
def test_names_and_places_differ_from_run_to_run(runner):
    runs = [planted_in(runner, seed) for seed in SEEDS]
    assert len({frozenset(run.names) for run in runs}) > len(runs) * 0.8
    assert len({frozenset(run.files.items()) for run in runs}) == len(runs)


def test_names_have_words_of_the_repository_too():
    path, place, text, tests = SAMPLES["go"]
    words = Suite(LANGUAGES["go"], {path: text}, {path: place}, tests[:1], tests, {}, "zebra quagga okapi")
    names = {name for seed in SEEDS for name in plant(words, random.Random(seed)).names}
    assert any("Zebra" in name or "Quagga" in name or "Okapi" in name for name in names)


def test_files_of_one_package_share_no_name():
    files = {f"{name}_test.go": GO.replace("One", f"One{name.upper()}") for name in "abcdefgh"}
    tests = [f"example.com/p::TestOne{name.upper()}" for name in "abcdefgh"]
    for seed in SEEDS:
        planted = plant(
            Suite(LANGUAGES["go"], files, dict.fromkeys(files, "example.com/p"), tests, tests), random.Random(seed)
        )
        text = "\n".join(data.decode() for data in planted.files.values())
        added = [line for line in text.splitlines() if any(f"func {name}(" in line for name in planted.names)]
        assert len(added) == len(set(added)) >= 2 * len(files)


@pytest.mark.parametrize("runner", ["pytest", "go", "cargo", "node", "tape"])
def test_a_fail_to_pass_test_stands_in_a_line_up_beside_a_canary(runner):
    planted = planted_in(runner, 1)
    assert planted.lineups[0].test == SAMPLES[runner][3][0]
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
    ("outcomes", "evidence"),
    [
        ({"real": "passed", "fail": "failed", "pass": "passed"}, None),
        ({"real": "passed", "fail": "error", "pass": "passed"}, None),
        ({"real": "passed", "fail": "passed", "pass": "passed"}, "cannot pass"),
        ({"real": "failed", "fail": "passed", "pass": "passed"}, "cannot pass"),
        ({"real": "passed", "pass": "passed"}, "not reported at all"),
        ({"real": "passed", "fail": "failed"}, "cannot fail"),
        ({"real": "passed", "fail": "failed", "pass": "failed"}, "cannot fail"),
        ({"real": "passed", "fail": "failed", "pass": "skipped"}, "cannot fail"),
        ({"real": "failed"}, None),  # a file that takes its canaries with it
        ({}, None),
        ({"one": "passed", "two": "failed", "three": "failed", "fail": "failed", "pass": "passed"}, None),
        ({"one": "failed", "two": "passed", "three": "failed", "fail": "failed", "pass": "passed"}, None),
        ({"one": "failed", "two": "passed", "three": "passed", "fail": "failed", "pass": "passed"}, "at most"),
        ({"one[a]": "passed", "two[b]": "passed", "fail": "failed", "pass": "passed"}, None),
        ({"one[a]": "passed", "two[a]": "passed", "fail": "failed", "pass": "passed"}, "at most"),
    ],
)
def test_what_no_truthful_report_says(outcomes, evidence):
    planted = Planted(must_fail={"t.py::fail": "t.py"}, must_pass={"t.py::pass": "t.py"}, within="[")
    planted.lineups = [LineUp("t.py::two", "t.py::one", ("t.py::two", "t.py::three"))]
    wrong = list(planted.wrong({f"t.py::{name}": value for name, value in outcomes.items()}).values())
    assert [evidence in sentence for sentence in wrong] == [True] if evidence else wrong == []


@pytest.mark.parametrize(("within", "rest"), [("[", ""), ("[", "[x-1]"), ("/", "/sub"), ("", "")])
def test_a_test_has_the_outcome_of_its_true_version(within, rest):
    planted = Planted(
        within=within, lineups=[LineUp("p::two", "p::one", ("p::two",)), LineUp("p::a", "p::a", ("p::b",))]
    )
    own = planted.own({f"p::one{rest}": "passed", f"p::two{rest}": "failed", "p::a": "failed", "p::twofold": "skipped"})
    assert own[f"p::two{rest}"] == "passed"
    assert own["p::a"] == "failed"
    assert own["p::twofold"] == "skipped"
    assert "p::two" not in planted.own({"p::two": "passed"})  # whoever leaves the true version out has not passed it


def test_a_copy_stays_in_the_block_of_its_test():
    one = "    t.test('one {0}', function (st) {{\n        st.equal(f(), 1);\n        st.end();\n    }});\n"
    text = "".join(
        f"test('{name}', function (t) {{\n{one.format(name)}\n    t.end();\n}});\n\n" for name in ("first", "second")
    )
    tests = ["t.js::one first", "t.js::one second"]
    for seed in SEEDS:
        planted = plant(
            Suite(LANGUAGES["tape"], {"t.js": text}, {"t.js": "t.js"}, tests[:1], tests), random.Random(seed)
        )
        first, second = planted.files["t.js"].decode().split("test('second', ")
        for block, real in ((first, "one first"), (second, "one second")):
            lines = [line for line in block.splitlines() if line.startswith("    t.test(")]
            assert any(real in line for line in lines)
            assert block.rstrip().endswith("});")
            assert block.index("\n    t.end()") > max(block.index(line) for line in lines)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wrong_value_is_another_of_the_same_look(seed):
    rng = random.Random(seed)
    for text in ("abc", "A1", "", "é!", "9"):
        assert len({text, *other_texts(text, 3, rng)}) == 4
    for number in (0, 1, -3, 200, 70000):
        assert len({number, *other_numbers(number, 3, rng)}) == 4
    one, two = pair(rng)
    assert one != two
    assert len({"'ab'", *other_literals("'ab'", 3, rng)}) == 4
    assert other_literals("name", 3, rng) == []


@pytest.mark.parametrize(
    ("value", "look"),
    [
        ('"abc"', r'"\w{3}"'),
        ("b'abc'", r"b'\w{3}'"),
        ("12", r"\d{1,2}"),
        ('{"a": [1, (2, "b")]}', r'\{"\w": \[\d+, \(\d+, "\w"\)\]\}'),
        ("[]", r"\['\w+'\]"),
        ('"é" "b"', r'"é" "\w"'),
        ('""', r'"\w"'),
    ],
)
def test_a_wrong_value_in_python_keeps_the_look_of_the_right_one(value, look):
    text = f"want = {value}\n"
    node = ast.parse(text).body[0].value
    for seed in SEEDS:
        values = other_values(text, node, text, random.Random(seed), 2)
        assert len(values) == len({repr(ast.literal_eval(value)) for value in [value, *values]}) - 1 == 2
        assert all(re.fullmatch(look, value) for value in values), values


def test_arguments_are_split_where_the_call_splits_them():
    source = "(f(a, b), 'x,(y', [1, 2]);"
    spans = call_arguments(source, 0)
    assert [source[start:end] for start, end in spans] == ["f(a, b)", "'x,(y'", "[1, 2]"]
    lines = "is(\n  'a//b',\n  { c: [] }\n);\nis(d);\n"
    assert [lines[start:end] for start, end in call_arguments(lines, 2)] == ["'a//b'", "{ c: [] }"]
    for other in ("(a, b", "(a, b) + c\n", "(a, // it's\n b)", "('a\n', b)"):
        assert call_arguments(other, 0) is None


@pytest.mark.parametrize("seed", range(20))
def test_a_variable_is_no_value_to_be_changed(seed: int) -> None:
    text = """test('a key', function (t) {
  var expected = { name: 1, other: 2 };
  t.deepEqual(parse('x'), expected);
  t.end();
});
"""
    javascript = LANGUAGES["tape"]
    [template] = javascript.templates("a.js", text, {"a.js::a key"})
    for version in javascript.versions(text, template, ["one", "two", "three"], random.Random(seed)):
        assert "t.deepEqual(parse('x'), expected)" in version
