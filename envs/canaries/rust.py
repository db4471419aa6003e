"""Canaries and decoys for `cargo test`, made on text as rustfmt leaves it."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence

from envfarm.envs.canaries.base import Template
from envfarm.envs.canaries.words import call_arguments, other_literal, pair

_TEST = re.compile(
    r"^([ \t]*)#\[test\]\n((?:\1#\[[^\n]*\]\n)*)\1(?:pub )?fn (\w+)\(\)([^\n{]*)\{\n.*?^\1\}\n", re.M | re.S
)


class Rust:
    """Functions marked `#[test]` in the root file of a test binary."""

    def templates(self, place: str, text: str, tests: Collection[str]) -> list[Template]:
        """Functions that must not panic and whose name stands for one test of this binary only."""
        found = []
        for match in _TEST.finditer(text):
            own = [t for t in tests if t.startswith(f"{place}::") and t.rpartition("::")[2] == match[3]]
            if len(own) == 1 and "should_panic" not in match[2] and "ignore" not in match[2]:
                found.append(Template(own[0], match[3], match.start(), match.end()))
        return found

    def name(self, words: Sequence[str], like: str) -> str:
        """The words in snake case; with `test` in front where the other test has it."""
        return "_".join(["test", *words] if like.startswith("test") else ["a", *words] if words[0].isdigit() else words)

    def failing(self, source: str, template: Template, name: str, rng: random.Random, *, alone: bool) -> str:
        """A wrong literal in one of the test's own `assert_eq!`, else one more at its start."""
        source = re.sub(rf"\bfn {template.name}\(", f"fn {name}(", source, count=1)
        edits = _wrong_literals(source, rng) if "return" not in source else []
        if edits:
            start, end, wrong = rng.choice(edits)
            return source[:start] + wrong + source[end:]
        one, two = pair(rng)
        return _with_first_line(source, f'assert_eq!("{one}", "{two}");')

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


def _wrong_literals(source: str, rng: random.Random) -> list[tuple[int, int, str]]:
    indent = re.escape(source[: len(source) - len(source.lstrip(" \t"))])
    edits = []
    for match in re.finditer(rf"^{indent}    assert_eq!(\([^\n]*);$", source, re.M):
        for start, end in (call_arguments(match[1], 0) or [])[:2]:
            wrong = other_literal(match[1][start:end], rng)
            if wrong is not None:
                edits.append((match.start(1) + start, match.start(1) + end, wrong))
    return edits


def _with_first_line(source: str, line: str) -> str:
    lines = source.splitlines(keepends=True)
    at = next(i for i, text in enumerate(lines) if re.match(r"\s*(pub )?fn ", text) and text.rstrip().endswith("{"))
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())] + "    "
    return "".join([*lines[: at + 1], f"{indent}{line}\n", *lines[at + 1 :]])
