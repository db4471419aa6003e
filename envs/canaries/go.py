"""Canaries and decoys for `go test`, made on text as gofmt leaves it."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence

from envfarm.envs.canaries.base import Template
from envfarm.envs.canaries.words import pair

_TEST = re.compile(r"^func (Test\w*)\((\w+) \*testing\.T\) \{\n.*?^\}\n", re.M | re.S)
_IF = re.compile(r"^\tif [^\n]* != [^\n!|&]* \{\n\t\t(?:t|tt)\.(?:Error|Fatal)", re.M)
_PACKAGE = re.compile(r"^package (\w+)", re.M)


class Go:
    """Top-level test functions."""

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

    def name(self, words: Sequence[str], like: str) -> str:
        """`Test` and the words in camel case."""
        return "Test" + "".join(word.capitalize() for word in words)

    def failing(self, source: str, template: Template, name: str, rng: random.Random, *, alone: bool) -> str:
        """A comparison turned round, or one more that fails: before the body where that may not run a second time.

        What a test does twice, as registering a flag, ends the whole process in Go.
        """
        head, _, body = source.partition("\n")
        head = head.replace(template.name, name, 1)
        variable = head.partition("(")[2].partition(" ")[0]
        got, want = pair(rng)
        turns = list(_IF.finditer(body)) if "\treturn" not in body and f"{variable}.Skip" not in body else []
        if alone and turns and rng.random() < 0.5:
            turn = rng.choice(turns)
            line = turn[0].partition("\n")[0]
            left, _, right = line.rpartition(" != ")
            return f"{head}\n{body[: turn.start()]}{left} == {right}{body[turn.start() + len(line) :]}"
        if variable == "_":
            head, variable = head.replace("(_ ", "(t ", 1), "t"
        message = f'"got %q, want %q", "{got}", "{want}"'
        if alone:
            return f"{head}\n\tdefer {variable}.Errorf({message})\n{body}"
        check = f'if got, want := "{got}", "{want}"; got != want {{\n\t\t{variable}.Fatalf({message})\n\t}}'
        return f"{head}\n\t{check}\n{body}"

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


def _function(name: str, got: str, want: str | None) -> str:
    return (
        f'func {name}(t *testing.T) {{\n\tif got, want := "{got}", "{want or got}"; got != want {{\n'
        '\t\tt.Errorf("got %q, want %q", got, want)\n\t}\n}\n'
    )
