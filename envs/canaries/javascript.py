"""Canaries and decoys for node:test, mocha, jest and tape, made on text as formatters leave it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Collection, Mapping, Sequence

from envfarm.envs.canaries.base import Swap, Template
from envfarm.envs.canaries.words import (
    call_arguments,
    distinct,
    literals,
    other_literals,
    pair,
    replaced,
    same_and_others,
    swapped,
)

_TEST = re.compile(
    r"^([ \t]*)(?:it|test|specify|tape|\w{1,4}\.test)\((?P<quote>['\"`])(?P<name>[^'\"`\\\n]+)(?P=quote), *"
    r"(?:async )?(?:function ?\w* ?\((?P<one>\w*)\)|\((?P<two>\w*)\) =>|(?P<three>\w+) =>) ?\{\n"
    r".*?^\1\}\);?\n",
    re.M | re.S,
)
_KEY = re.compile(r"\b(?!__)[A-Za-z_]\w*(?=:(?! undefined))")  # jest takes one that is undefined for none
_DATUM = re.compile(rf"'[^'\\\n]*'|\"[^\"\\\n]*\"|(?<![\w.])\d{{1,9}}(?![\w.])|{_KEY.pattern}")
_PLAIN = re.compile(r"^(?:[\w\s:,\[\]{}.+-]|'[^'\\\n]*'|\"[^\"\\\n]*\")*$")  # data: no call, no expression
_STRICT = "strictEqual|deepStrictEqual|same|is|deepEqual|equal|equals|eq"
_CALL = r"^{indent}(?:await )?(?:assert|t|test|{argument})(?:\.strict)?\.(?:" + _STRICT + r")(?=\()"
_EXPECT = r"^{indent}expect\([^\n]*\)\.(?:toBe|toEqual|toStrictEqual|to\.equal|to\.eql|to\.be)(?=\()"


class JavaScript:
    """Calls of `it` and `test` with a function in place."""

    within = ""

    def templates(self, place: str, text: str, tests: Collection[str]) -> list[Template]:
        """Calls whose name belongs to one test of the file only and whose function does not wait for a callback."""
        found: dict[str, Template | None] = {}
        for match in _tests(text):
            name = match["name"]
            own = [t for t in tests if t.startswith(f"{place}::") and re.search(rf"(^|[: >]){re.escape(name)}$", t)]
            parameter = match["one"] or match["two"] or match["three"] or ""
            if len(own) == 1 and _is_object(parameter, match[0]) and ".skip" not in match[0]:
                template = Template(own[0], name, match.start(), match.end(), _block(text, match.start(), match[1]))
                found[own[0]] = None if own[0] in found else template
        return sorted((template for template in found.values() if template), key=lambda template: template.start)

    def inherited(self, files: Mapping[str, str], tests: Collection[str]) -> Mapping[str, list[str]]:
        """None: tests are functions."""
        return {}

    def name(self, words: Sequence[str], like: str) -> str:
        """The words with spaces; with `should` in front where the other test has it."""
        return " ".join(["should", *words] if like.startswith("should ") else words)

    def renamed(self, source: str, template: Template, name: str) -> str:
        """The call with another title."""
        return source.replace(template.name, name, 1)

    def versions(self, text: str, template: Template, names: Sequence[str], rng: random.Random) -> list[str]:
        """Wrong values in one of the test's own assertions, else one assertion more at its start."""
        source, count = text[template.start : template.end], len(names) - 1
        places = _expected(source) if not re.search(r"^\s*return\b", source, re.M) else []
        wrong = replaced(source, places, lambda value: _others(value, text, rng, count), count, rng)
        versions = [source, *wrong]
        if not wrong and _parameter(source) and f"{_parameter(source)}.plan(" in source:
            # one assertion more would not be in the plan, and end another test
            versions += replaced(source, places, lambda value: _wrapped(value, rng, count), count, rng)
        elif not wrong:
            head, _, body = source.partition("\n")
            same = same_and_others(rng, count)
            lines = [_compared(source, same[0], other) for other in same]
            versions = [f"{head}\n{_indent(source)}  {line}\n{body}" for line in lines]
        return [self.renamed(version, template, name) for version, name in zip(versions, names, strict=False)]

    def swaps(self, text: str, template: Template, count: int, rng: random.Random) -> list[Swap]:
        """What assertions at any depth compare with."""
        source = text[template.start : template.end]
        places = _expected(source, r"[ \t]+")
        return swapped(source, places, lambda value: _others(value, text, rng, count), count, rng)

    def passing(self, source: str, template: Template, name: str, rng: random.Random) -> str:
        """A function that does nothing but end."""
        indent, head = _indent(source), source.partition("\n")[0].replace(template.name, name, 1)
        parameter = _parameter(source)
        last = (
            f"{indent}  {parameter}.pass('{pair(rng)[0]}');\n{indent}  {parameter}.end();\n" if _taped(source) else ""
        )
        close = source.rstrip().rpartition("\n")[2]
        return f"{head}\n{last}{close}\n"

    def standalone(self, path: str, text: str, name: str, other: str, rng: random.Random) -> tuple[str, str, str, str]:
        """The same file with two tests at its end, through whatever it calls `test` or `it`."""
        function = "it" if re.search(r"^\s*it\(", text, re.M) else "test"
        one, two = pair(rng)
        taped = "require('tape')" in text or 'require("tape")' in text or "'tape'" in text
        tests = "\n"
        for title, value in ((name, two), (other, one)):
            body = f"  t.equal('{one}', '{value}');\n  t.end();\n" if taped else f"  {_failure(one, value)}\n"
            tests += f"{function}({json.dumps(title)}, function ({'t' if taped else ''}) {{\n{body}}});\n"
        return path, f"{text.rstrip()}\n{tests}", f"::{name}", f"::{other}"


def _is_object(parameter: str, source: str) -> bool:
    """Whether a test's parameter is what its assertions are called on, and no callback."""
    callback = parameter in ("done", "cb", "next", "callback") or re.search(rf"\b{parameter or '#'}\(", source)
    return not parameter or (not callback and f"{parameter}." in source)


def _tests(text: str) -> list[re.Match[str]]:
    """The calls that hold no other."""
    found: list[re.Match[str]] = []
    at = 0
    while match := _TEST.search(text, at):
        at = text.index("\n", match.start()) + 1
        if found and match.end() <= found[-1].end():
            found.pop()
        found.append(match)
    return found


def _block(text: str, start: int, indent: str) -> str:
    """Where the block begins that a line stands in: the nearest line above with less of an indentation."""
    while start > 0 and indent:
        end = start - 1
        start = text.rfind("\n", 0, end) + 1
        line = text[start:end]
        if line.strip() and len(line) - len(line.lstrip(" \t")) < len(indent):
            return str(start)
    return ""


def _indent(source: str) -> str:
    return source[: len(source) - len(source.lstrip(" \t"))]


def _parameter(source: str) -> str:
    match = _TEST.match(source)
    return (match["one"] or match["two"] or match["three"] or "") if match else ""


def _taped(source: str) -> bool:
    parameter = _parameter(source)
    return bool(parameter) and bool(re.search(rf"\b{parameter}\.(end|plan)\(", source))


def _compared(source: str, one: str, two: str) -> str:
    # What is thrown in a test of tape ends the whole process.
    return f"{_parameter(source)}.equal('{one}', '{two}');" if _taped(source) else _failure(one, two)


def _failure(one: str, two: str) -> str:
    text = json.dumps(f"Expected values to be strictly equal:\n\n'{one}' !== '{two}'\n")
    error = f"Object.assign(new Error({text}), {{ name: 'AssertionError', code: 'ERR_ASSERTION' }})"
    return f"if ('{one}' !== '{two}') throw {error};"


def _expected(source: str, indent: str = "") -> list[tuple[int, int]]:
    """Where second arguments of equality assertions lie, and what `expect` compares with.

    They are those at the top of the body, or, with a pattern, those that stand so far from the left.
    """
    match = re.search(r"\n([ \t]+)\S", source)
    if match is None or len(match[1]) <= len(_indent(source)):
        return []
    indent, argument = indent or re.escape(match[1]), re.escape(_parameter(source) or "assert")
    found = []
    for pattern, index in ((_CALL, 1), (_EXPECT, 0)):
        regex = pattern.replace("{indent}", indent).replace("{argument}", argument)
        for call in re.finditer(regex, source, re.M):
            spans = call_arguments(source, call.end()) or []
            if len(spans) > index and ".not." not in call[0]:
                found.append(spans[index])
    return found


def _others(value: str, text: str, rng: random.Random, count: int) -> list[str]:
    """Other values: a literal changed, be it the whole or one within a list or an object, or a key of these."""
    data = [match.span() for match in _DATUM.finditer(value)] if value[:1] in "[{" and _PLAIN.match(value) else []
    inner = [(start, end) for start, end in data if end - start > 2 or value[start] not in "'\""]  # "" stands out

    def others(one: str) -> list[str]:
        if not inner or not _KEY.match(f"{one}:"):  # a name that stands alone is a variable
            return other_literals(one, count, rng, literals(text))
        keys = [f"'{key}'" for key in _KEY.findall(text)]
        return [other[1:-1] for other in other_literals(f"'{one}'", count, rng, keys)]

    return replaced(value, inner or [(0, len(value))], others, count, rng)


def _wrapped(value: str, rng: random.Random, count: int) -> list[str]:
    return distinct(lambda: f"[{value}, '{pair(rng)[0]}']", value, count)
