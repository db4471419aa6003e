"""Constants of a Python test that seem to be expectations, though not surely compared with."""

from __future__ import annotations

import ast

from envfarm.envs.canaries.python_values import KINDS


def suspected(function: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[list[ast.Constant], list[ast.Constant]]:
    """What assertions of any depth compare with, and the last arguments of helpers, where expectations stand mostly."""
    compared: list[ast.Constant] = []
    handed: list[ast.Constant] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            compared += _sides(_equals(node.test))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            called, arguments = node.value.func, node.value.args
            if isinstance(called, ast.Attribute) and called.attr.startswith("assert"):
                sides = _equals(arguments[0]) if len(arguments) == 1 else arguments[:2]
                compared += _sides(sides) if "Equal" in called.attr or len(arguments) == 1 else []
            elif arguments and _is_helper(called):
                handed += _constants(arguments[-1])
    return compared, handed


def _equals(node: ast.expr) -> list[ast.expr]:
    """The two sides of a comparison by `==`."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq):
        return [node.left, *node.comparators]
    return []


def _sides(sides: list[ast.expr]) -> list[ast.Constant]:
    """The constants of the side that looks like the expectation: that calls nothing, else the right one."""
    found = [(any(isinstance(node, ast.Call) for node in ast.walk(side)), _constants(side)) for side in sides]
    with_some = sorted((calls, -i, constants) for i, (calls, constants) in enumerate(found) if constants)
    return with_some[0][2] if with_some else []


def _is_helper(called: ast.expr) -> bool:
    """Whether what is called is a function, or a method of the test's own class."""
    owner = called.value if isinstance(called, ast.Attribute) else None
    return isinstance(called, ast.Name) or (isinstance(owner, ast.Name) and owner.id == "self")


def _constants(node: ast.expr) -> list[ast.Constant]:
    """Those that can be changed where they stand, which in an f-string none can."""
    within = {id(part) for whole in ast.walk(node) if isinstance(whole, ast.JoinedStr) for part in ast.walk(whole)}
    return [
        part
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and type(part.value) in KINDS and id(part) not in within
    ]
