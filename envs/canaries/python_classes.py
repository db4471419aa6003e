"""Finds where Python's test classes have those of their methods from that they inherit."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping

from envfarm.tasks.python_syntax import parse

_Classes = Mapping[str, Mapping[str, ast.ClassDef]]
_DEEPEST = 10  # bases of bases: a class that names itself as its base has no end


def inherited(files: Mapping[str, str], tests: Collection[str]) -> dict[str, list[str]]:
    """The ids of inherited tests, by the id that each would have in the class that defines it."""
    classes = {path: _classes(text) for path, text in files.items()}
    found: dict[str, list[str]] = {}
    for test in sorted({test.partition("[")[0] for test in tests}):
        path, _, rest = test.partition("::")
        group, _, method = rest.partition("::")
        cls = classes.get(path, {}).get(group)
        if cls is None or "::" in method or method in _methods(cls):
            continue
        home = next(_bases(classes, path, cls, method, 0), None)
        if home is not None:
            found.setdefault(f"{home}::{method}", []).append(test)
    return found


def _classes(text: str) -> dict[str, ast.ClassDef]:
    try:
        return {node.name: node for node in parse(text).body if isinstance(node, ast.ClassDef)}
    except (SyntaxError, ValueError):
        return {}


def _methods(cls: ast.ClassDef) -> set[str]:
    return {node.name for node in cls.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def _bases(classes: _Classes, path: str, cls: ast.ClassDef, method: str, depth: int) -> Iterator[str]:
    """Base classes that define a method, nearest first, each as `file::class`."""
    if depth > _DEEPEST:
        return
    for base in cls.bases:
        name = base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""
        homes = [path] if name in classes[path] else [other for other in classes if name in classes[other]]
        if len(homes) != 1:
            continue  # from elsewhere, or of two with one name nobody knows which
        found = classes[homes[0]][name]
        if method in _methods(found):
            yield f"{homes[0]}::{name}"
        yield from _bases(classes, homes[0], found, method, depth + 1)
