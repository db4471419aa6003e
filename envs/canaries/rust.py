"""Canaries and decoys for `cargo test`, made on text as rustfmt leaves it."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Mapping, Sequence

from envfarm.envs.canaries.base import Swap, Template
from envfarm.envs.canaries.words import (
    call_arguments,
    literals,
    other_literals,
    pair,
    replaced,
    same_and_others,
    swapped,
)

_TEST = re.compile(
    r"^([ \t]*)#\[test\]\n((?:\1#\[[^\n]*\]\n)*)\1(?:pub )?fn (\w+)\(\)([^\n{]*)\{\n.*?^\1\}\n", re.M | re.S
)


class Rust:
    """Functions marked `#[test]` in the root file of a test binary."""

    within = ""

    def templates(self, place: str, text: str, tests: Collection[str]) -> list[Template]:
        """Functions that must not panic and whose name stands for one test of this binary only."""
        found = []
        for match in _TEST.finditer(text):
            own = [t for t in tests if t.startswith(f"{place}::") and t.rpartition("::")[2] == match[3]]
            if len(own) == 1 and "should_panic" not in match[2] and "ignore" not in match[2]:
                found.append(Template(own[0], match[3], match.start(), match.end()))
        return found

    def inherited(self, files: Mapping[str, str], tests: Collection[str]) -> Mapping[str, list[str]]:
        """None: tests are functions."""
        return {}

    def name(self, words: Sequence[str], like: str) -> str:
        """The words in snake case; with `test` in front where the other test has it."""
        return "_".join(["test", *words] if like.startswith("test") else ["a", *words] if words[0].isdigit() else words)

    def renamed(self, source: str, template: Template, name: str) -> str:
        """The function under another name."""
        return re.sub(rf"\bfn {template.name}\(", f"fn {name}(", source, count=1)

    def versions(self, text: str, template: Template, names: Sequence[str], rng: random.Random) -> list[str]:
        """Wrong literals in one of the test's own `assert_eq!`, else one more assertion at its start."""
        source = text[template.start : template.end]
        places = _expected(source) if "return" not in source else []
        count = len(names) - 1
        wrong = replaced(source, places, lambda value: other_literals(value, count, rng, _pool(text)), count, rng)
        versions = [source, *wrong]
        if not wrong:
            same = same_and_others(rng, count)
            versions = [_with_first_line(source, f'assert_eq!("{same[0]}", "{other}");') for other in same]
        return [self.renamed(version, template, name) for version, name in zip(versions, names, strict=True)]

    def swaps(self, text: str, template: Template, count: int, rng: random.Random) -> list[Swap]:
        """Literals of `assert_eq!` at any depth."""
        source = text[template.start : template.end]
        places = _expected(source, r"[ \t]+")
        return swapped(source, places, lambda value: other_literals(value, count, rng, _pool(text)), count, rng)

    def passing(self, source: str, template: Template, name: str, rng: random.Random) -> str:
        """One `assert_eq!` of equal texts."""
        indent = source[: len(source) - len(source.lstrip(" \t"))]
        same = pair(rng)[0]
        return f'{indent}#[test]\n{indent}fn {name}() {{\n{indent}    assert_eq!("{same}", "{same}");\n{indent}}}\n'

    def standalone(self, path: str, text: str, name: str, other: str, rng: random.Random) -> tuple[str, str, str, str]:
        """The same file with two functions at its end: a new file would be a binary of its own."""
        one, two = pair(rng)
        tests = f'\n#[test]\nfn {name}() {{\n    assert_eq!("{one}", "{two}");\n}}\n'
        tests += f'\n#[test]\nfn {other}() {{\n    assert_eq!("{one}", "{one}");\n}}\n'
        return path, f"{text.rstrip()}\n{tests}", f"::{name}", f"::{other}"


def _pool(text: str) -> list[str]:
    return [value for value in literals(text) if value.startswith('"') or len(value) < 3]


def _expected(source: str, indent: str = "") -> list[tuple[int, int]]:
    """Where the literals lie that assertions compare with: those at the top of the body, or so far from the left."""
    indent = indent or re.escape(source[: len(source) - len(source.lstrip(" \t"))]) + "    "
    found = []
    for match in re.finditer(rf"^{indent}assert_eq!(?=\()", source, re.M):
        arguments = (call_arguments(source, match.end()) or [])[:2]
        # a char cannot grow by a letter
        found += [(at, end) for at, end in arguments if re.fullmatch(r'"[^"\\]*"|\d{1,9}', source[at:end])]
    return found


def _with_first_line(source: str, line: str) -> str:
    lines = source.splitlines(keepends=True)
    at = next(i for i, text in enumerate(lines) if re.match(r"\s*(pub )?fn ", text) and text.rstrip().endswith("{"))
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())] + "    "
    return "".join([*lines[: at + 1], f"{indent}{line}\n", *lines[at + 1 :]])
