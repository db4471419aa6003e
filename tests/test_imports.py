"""The house's rules: which folder may import which, and what every module must have."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("envs", "k8s", "orchestrator", "tasks", "toolbox", "trainers")
MAY_IMPORT = {
    "toolbox": {"toolbox"},
    "k8s": {"k8s", "toolbox"},
    "tasks": {"tasks", "toolbox"},
    "envs": {"envs", "tasks", "toolbox"},
    "orchestrator": {"orchestrator", "envs", "k8s", "tasks", "toolbox", "trainers"},
    "trainers": {"trainers"},
}
SCRIPTS = {"orchestrator/bench/swerex_peer.py", "orchestrator/bench/record_peer.py"}
"""Run by another Python, with what the benchmark installs there or the renderer's image has."""
ADAPTERS = {
    "inspect_ai": ["inspect_ai"],
    "mini_swe_agent": ["minisweagent"],
    "skyrl_gym": ["skyrl_gym"],
    "verifiers": ["verifiers", "mcp"],
}
"""What an adapter may import besides: its trainer's packages."""
NEED_TRAINERS = {"trainers/adapters/inspect_ai.py", "trainers/adapters/skyrl_gym.py", "trainers/adapters/verifiers.py"}
"""Adapters whose classes have a base class of their trainer's: imported where that is."""
LONGEST_MODULE = 400  # lines; about 300 is the aim
LONGEST_FUNCTION = 70  # lines with its docstring; about 40 is the aim


def modules() -> list[Path]:
    """Every module of the package."""
    return [
        path
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "samples" not in path.relative_to(ROOT).parts and "__pycache__" not in path.parts
    ]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("envfarm", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide where a module comes from"
            yield node.module or ""
            if node.module == "envfarm":
                yield from (f"envfarm.{alias.name}" for alias in node.names if alias.name != "__version__")


def test_every_folder_with_code_is_in_the_package() -> None:
    outside = {".venv", "tests", "scripts", "images", "src", "build", "dist", "docs", "examples"}
    with_code = {path.parent.name for path in ROOT.glob("*/*.py") if not path.parent.name.startswith(".")} - outside
    assert with_code == set(FOLDERS)
    for folder in FOLDERS:
        assert (ROOT / "src/envfarm" / folder).resolve() == ROOT / folder


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_one_way(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in modules()
        if path.relative_to(ROOT).parts[0] == folder
        for module in imported(path)
        if module.startswith("envfarm.") and module.split(".")[1] not in MAY_IMPORT[folder]
    ]
    assert wrong == []


def test_only_what_is_imported_by_its_full_name() -> None:
    """`import tasks` would find a wheel of that name, not ours."""
    wrong = [(str(path), module) for path in modules() for module in imported(path) if module.split(".")[0] in FOLDERS]
    assert wrong == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_module_imports_and_says_what_it_is(path: Path) -> None:
    by_others = (
        "migrations" in path.parts or path.relative_to(ROOT).as_posix() in SCRIPTS | NEED_TRAINERS
    )  # alembic loads its own
    if by_others:
        compile(path.read_text(), str(path), "exec")
    else:
        importlib.import_module(name_of(path))
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a module's docstring says in one sentence what it is"


def test_modules_and_functions_stay_short() -> None:
    long = []
    for path in modules():
        text = path.read_text()
        if (lines := len(text.splitlines())) > LONGEST_MODULE:
            long.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    assert long == []


def test_the_client_needs_nothing_of_the_farm() -> None:
    """A trainer imports the client beside its own packages: it must stay light."""
    heavy = {"sqlalchemy", "docker", "alembic", "typer", "rich", "prometheus_client"}
    taken = {
        module.split(".")[0]
        for path in modules()
        if path.relative_to(ROOT).parts[0] == "trainers" and path.parent.name != "adapters"
        for module in imported(path)
    }
    assert taken & heavy == set()
    assert taken <= set(sys.stdlib_module_names) | {"aiohttp", "envfarm", "httpx", "orjson", "pydantic"}


def test_an_adapter_needs_its_trainer_and_the_client_alone() -> None:
    for path in (ROOT / "trainers/adapters").glob("*.py"):
        taken = {module.split(".")[0] for module in imported(path)} - set(sys.stdlib_module_names)
        assert taken <= {"envfarm", "pydantic", *ADAPTERS.get(path.stem, ())}, path
