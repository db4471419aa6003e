"""Canaries and decoys for `go test`, made on text as gofmt leaves it."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Mapping, Sequence

from envfarm.envs.canaries.base import Swap, Template
from envfarm.envs.canaries.go_swaps import swaps
from envfarm.envs.canaries.words import literals, other_literals, pair, replaced, same_and_others

_TEST = re.compile(r"^func (Test\w*)\((\w+) \*testing\.T\) \{\n.*?^\}\n", re.M | re.S)
_LITERAL = re.compile(r"^\tif [^\n]* != (\"[^\"\\\n]*\"|\d{1,9}) \{\n\t\t(?:t|tt)\.(?:Error|Fatal)", re.M)
_ONCE = re.compile(r"flag\.|Regist|Handle|expvar|Setenv|Parallel|os\.|sync\.|go func")
_PACKAGE = re.compile(r"^package (\w+)", re.M)


class Go:
    """Top-level test functions."""

    within = "/"

    def templates(self, place: str, text: str, tests: Collection[str]) -> list[Template]:
        """Functions in gofmt's form, so that a brace at the left edge ends them."""
        found = []
        for match in _TEST.finditer(text):
            test = f"{place}::{match[1]}"
            if (
                (test in tests or any(name.startswith(f"{test}/") for name in tests))
                and match[1] != "TestMain"
                and match[0].count("`") % 2 == 0
            ):
                found.append(Template(test, match[1], match.start(), match.end()))
        return found

    def inherited(self, files: Mapping[str, str], tests: Collection[str]) -> Mapping[str, list[str]]:
        """None: tests are functions."""
        return {}

    def name(self, words: Sequence[str], like: str) -> str:
        """`Test` and the words in camel case."""
        return "Test" + "".join(word.capitalize() for word in words)

    def renamed(self, source: str, template: Template, name: str) -> str:
        """The function under another name."""
        return source.replace(f"func {template.name}(", f"func {name}(", 1)

    def versions(self, text: str, template: Template, names: Sequence[str], rng: random.Random) -> list[str]:
        """Wrong literals in a comparison of its own, else one comparison more, of two texts.

        That one stands before the body: what a test does twice, as registering a flag, ends the whole process in Go.
        """
        source = text[template.start : template.end]
        variable = source.partition("(")[2].partition(" ")[0]
        plain = not _ONCE.search(source) and "\treturn" not in source and f"{variable}.Skip" not in source
        places = [match.span(1) for match in _LITERAL.finditer(source)] if plain else []
        count = len(names) - 1
        wrong = replaced(source, places, lambda value: other_literals(value, count, rng, _pool(text)), count, rng)
        versions = [source, *wrong]
        if not wrong:
            same = same_and_others(rng, count)
            versions = [_compared_first(source, variable, same[0], other) for other in same]
        return [self.renamed(version, template, name) for version, name in zip(versions, names, strict=True)]

    def swaps(self, text: str, template: Template, count: int, rng: random.Random) -> list[Swap]:
        """Literals in comparisons and in tables, also of tests that run in parallel or have a way out."""
        return swaps(text[template.start : template.end], _pool(text), count, rng)

    def passing(self, source: str, template: Template, name: str, rng: random.Random) -> str:
        """A comparison of two equal texts."""
        return _function(name, pair(rng)[0], None)

    def standalone(self, path: str, text: str, name: str, other: str, rng: random.Random) -> tuple[str, str, str, str]:
        """A file of the same package."""
        folder, slash, _ = path.rpartition("/")
        match = _PACKAGE.search(text)
        got, want = pair(rng)
        source = f'package {match[1] if match else "main"}\n\nimport "testing"\n\n'
        source += _function(name, got, want) + "\n" + _function(other, got, None)
        return f"{folder}{slash}{name[4:].lower()}_test.go", source, f"::{name}", f"::{other}"


def _pool(text: str) -> list[str]:
    return [value for value in literals(text) if value.startswith('"') or len(value) < 3]


def _compared_first(source: str, variable: str, got: str, want: str) -> str:
    head, _, body = source.partition("\n")
    if variable == "_":
        head, variable = head.replace("(_ ", "(t ", 1), "t"
    check = (
        f'if got, want := "{got}", "{want}"; got != want {{\n\t\t{variable}.Fatalf("got %q, want %q", got, want)\n\t}}'
    )
    return f"{head}\n\t{check}\n{body}"


def _function(name: str, got: str, want: str | None) -> str:
    return (
        f'func {name}(t *testing.T) {{\n\tif got, want := "{got}", "{want or got}"; got != want {{\n'
        '\t\tt.Errorf("got %q, want %q", got, want)\n\t}\n}\n'
    )
