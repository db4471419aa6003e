"""Canaries and decoys for pytest and unittest, made on the syntax tree and written into the text."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from envfarm.envs.canaries.base import Swap, Template
from envfarm.envs.canaries.python_classes import inherited
from envfarm.envs.canaries.python_swaps import suspected
from envfarm.envs.canaries.python_values import KINDS, constants, is_literal, offset, other_values
from envfarm.envs.canaries.words import pair, same_and_others
from envfarm.tasks.python_syntax import parse

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_WRAPPED = "if 1:\n"  # before an indented test, which is no module by itself
_UNFIT = re.compile(r"skip|xfail|expectedFailure|flaky|\bgiven\b|importorskip", re.I)
_EQUAL = ("assertEqual", "assertEquals", "assertListEqual", "assertDictEqual", "assertMultiLineEqual")


class Python:
    """Test functions of a module, and methods of its classes."""

    within = "["

    def templates(self, place: str, text: str, tests: Collection[str]) -> list[Template]:
        """Functions without a way out before their end: no return, no yield, nothing that skips."""
        try:
            tree = parse(text)
        except (SyntaxError, ValueError):
            return []
        starts = _line_starts(text)
        plain = {test.partition("[")[0] for test in tests}
        found: dict[str, Template] = {}
        for scope, function in _functions(tree):
            test = "::".join([place, *scope, function.name])
            first = min([function.lineno, *(node.lineno for node in function.decorator_list)]) - 1
            start, end = starts[first], starts[function.end_lineno or function.lineno]
            source = text[start:end]
            if test in plain and not _UNFIT.search(source) and _runs_through(function, text):
                found[test] = Template(test, function.name, start, end)  # of two with one name the later counts
        return sorted(found.values(), key=lambda template: template.start)

    def inherited(self, files: Mapping[str, str], tests: Collection[str]) -> Mapping[str, list[str]]:
        """Methods of base classes, be they in the same file or in another of these."""
        return inherited(files, tests)

    def name(self, words: Sequence[str], like: str) -> str:
        """`test_` and the words; in camel case where the other test's name is."""
        if like.startswith("test") and "_" not in like and like != "test" and like[4:5].isupper():
            return "test" + "".join(word.capitalize() for word in words)
        return "_".join(["test", *words])

    def renamed(self, source: str, template: Template, name: str) -> str:
        """The function under another name."""
        return re.sub(r"^(\s*(?:async )?def )\w+", lambda match: match[1] + name, source, count=1, flags=re.M)

    def versions(self, text: str, template: Template, names: Sequence[str], rng: random.Random) -> list[str]:
        """Wrong values in one of the test's own assertions, else one more assertion at its end."""
        source, function, shift = _parsed(text[template.start : template.end])
        count = len(names) - 1
        for node in _shuffled(_expectations(function), rng):
            values = other_values(source, node, text, rng, count)
            if len(values) == count:
                versions = [source, *(_replaced(source, node, value) for value in values)]
                break
        else:
            indent = " " * function.body[-1].col_offset
            same = same_and_others(rng, count)
            lines = [_assertion(source, (same[0], other)) for other in same]
            versions = [f"{source.rstrip()}\n{indent}{line}\n" for line in lines]
        return [
            self.renamed(_indented(version, shift), template, name)
            for version, name in zip(versions, names, strict=True)
        ]

    def swaps(self, text: str, template: Template, count: int, rng: random.Random) -> list[Swap]:
        """Constants that assertions compare with somewhere, then such as are handed to helpers last."""
        source, function, shift = _parsed(text[template.start : template.end])
        before = len(_WRAPPED) if shift else 0
        found = []
        for nodes in suspected(function):
            for node in rng.sample(nodes, len(nodes)):
                start, segment = offset(source, node) - before, ast.get_source_segment(source, node) or ""
                wrong = other_values(source, node, text, rng, count)
                if len(wrong) == count:
                    found.append(Swap(start, start + len(segment), tuple(wrong)))
        return found

    def passing(self, source: str, template: Template, name: str, rng: random.Random) -> str:
        """An assertion on two texts that are equal, without the test's parameters and decorators."""
        text, function, shift = _parsed(source)
        argument = function.args.args[0].arg if shift and function.args.args else ""
        same = pair(rng)[0]
        return _indented(f"def {name}({argument}):\n    {_assertion(text, (same, same))}\n", shift)

    def standalone(self, path: str, text: str, name: str, other: str, rng: random.Random) -> tuple[str, str, str, str]:
        """A module beside it."""
        folder, slash, file = path.rpartition("/")
        stem = other.removeprefix("test_") + ("_test.py" if file.endswith("_test.py") else ".py")
        new = f"{folder}{slash}{stem if file.endswith('_test.py') else 'test_' + stem}"
        (one, two), same = pair(rng), pair(rng)[0]
        source = f"def {name}():\n    assert {one!r} == {two!r}\n\n\ndef {other}():\n    assert {same!r} == {same!r}\n"
        return new, source, f"{new}::{name}", f"{new}::{other}"


def _functions(tree: ast.Module) -> Iterator[tuple[tuple[str, ...], _Function]]:
    stack: list[tuple[tuple[str, ...], Sequence[ast.stmt]]] = [((), tree.body)]
    while stack:
        scope, body = stack.pop()
        for node in body:
            if isinstance(node, ast.ClassDef):
                stack.append(((*scope, node.name), node.body))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield scope, node


def _runs_through(function: _Function, text: str) -> bool:
    awaited = bool(function.decorator_list) or "IsolatedAsyncioTestCase" in text or "anyio" in text
    if isinstance(function, ast.AsyncFunctionDef) and not awaited:
        return False  # nobody may ever await it, and then it passes whatever it says
    return not any(isinstance(node, ast.Return | ast.Yield | ast.YieldFrom) for node in ast.walk(function))


def _line_starts(text: str) -> list[int]:
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def _parsed(source: str) -> tuple[str, _Function, str]:
    """A test's source without its indentation, its node, and the indentation."""
    shift = source[: len(source) - len(source.lstrip(" \t"))]
    # Only the left edge of code is moved: the lines of a long string keep theirs, or it would change.
    text = source.removeprefix(shift) if not shift else f"{_WRAPPED}{source}"
    node = parse(text).body[0]
    function = node.body[0] if isinstance(node, ast.If) else node
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    return text, function, shift


def _indented(text: str, shift: str) -> str:
    if text.startswith(_WRAPPED):
        return text.removeprefix(_WRAPPED)
    return "".join(shift + line if line.strip() else line for line in text.splitlines(keepends=True))


def _replaced(text: str, node: ast.expr, wrong: str) -> str:
    lines = text.splitlines(keepends=True)
    starts = _line_starts(text)

    def offset(line: int, column: int) -> int:  # the tree counts columns in bytes
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    begin = offset(node.lineno, node.col_offset)
    return text[:begin] + wrong + text[offset(node.end_lineno or node.lineno, node.end_col_offset or 0) :]


def _shuffled(nodes: list[ast.expr], rng: random.Random) -> list[ast.expr]:
    """In random order, but those without a constant last: they can only grow, and then the true one is the shortest."""
    return sorted(rng.sample(nodes, len(nodes)), key=lambda node: not constants(node))


def _expectations(function: _Function) -> list[ast.expr]:
    """What the assertions compare with that surely run, those at the top of the body."""
    values = {
        node.targets[0].id: node.value
        for node in function.body
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
    }
    found = []
    for expected in filter(None, map(_expected, function.body)):
        literal = values.get(expected.id) if isinstance(expected, ast.Name) and _once(function, expected.id) else None
        literal = expected if literal is None or not is_literal(literal) else literal
        if is_literal(literal) and (not isinstance(literal, ast.Constant) or type(literal.value) in KINDS):
            found.append(literal)
    return found


def _once(function: _Function, name: str) -> bool:
    uses = [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == name]
    return len(uses) == 2


def _expected(node: ast.stmt) -> ast.expr | None:
    if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare):
        compare = node.test
        if len(compare.ops) == 1 and isinstance(compare.ops[0], ast.Eq):
            return compare.left if isinstance(compare.left, ast.Constant) else compare.comparators[0]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and len(node.value.args) >= 2:
        function, args = node.value.func, node.value.args
        if isinstance(function, ast.Attribute) and function.attr in _EQUAL:
            return args[0] if isinstance(args[0], ast.Constant) else args[1]
    return None


def _assertion(text: str, values: tuple[str, str]) -> str:
    one, two = values
    return f"self.assertEqual({one!r}, {two!r})" if "self.assert" in text else f"assert {one!r} == {two!r}"
