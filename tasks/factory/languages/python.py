"""Python: an editable install, with every package pinned."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from datetime import date
from pathlib import Path
from typing import Any

from envfarm.tasks.factory.languages.base import Environment, Project, first, shell
from envfarm.tasks.python_syntax import parse
from envfarm.tasks.runners.base import Runner
from envfarm.tasks.runners.pytest import Pytest
from envfarm.toolbox.errors import ImageError
from envfarm.toolbox.sandboxes.base import Sandbox

_TEST_GROUPS = re.compile(r"^(test|tests|testing|pytest)$", re.I)
_DEV_GROUPS = re.compile(r"^(dev|develop|development|all)$", re.I)
_TEST_FILES = re.compile(r"(^|/)(requirements[-_.])?(test|tests|testing|dev)([-_.]?requirements)?\.(txt|in)$", re.I)
_NAME = re.compile(r"^\s*([A-Za-z0-9][\w.-]*)")
_UNWANTED = re.compile(
    r"^(pytest-(cov|xdist|sugar|watch|randomly|codspeed|black|flake8|mypy|ruff)|tox|coverage)$", re.I
)
_IMPORTS = {
    "attrs": "attr",
    "beautifulsoup4": "bs4",
    "pillow": "PIL",
    "python-dateutil": "dateutil",
    "pyyaml": "yaml",
    "ruamel-yaml": "ruamel",
    "setuptools": "pkg_resources",
}


class Python:
    """pip, into the interpreter of the image."""

    name = "python"
    marks = frozenset({"pyproject.toml", "setup.py", "setup.cfg"})

    def runner(self, project: Project) -> Runner:
        """pytest, which runs unittest's tests as well."""
        return Pytest()

    def environment(self, project: Project, runner: Runner, pins: Mapping[str, bytes]) -> Environment:
        """Requirements first, so that the editable install needs no isolated build that nobody pinned."""
        requirements = pins.get("requirements.txt") or "\n".join(_requirements(project)).encode() + b"\n"
        version = re.sub(r"[^0-9.]+.*$", "", project.version) or "0"
        pretend = f"SETUPTOOLS_SCM_PRETEND_VERSION={version} PDM_BUILD_SCM_VERSION={version} PBR_VERSION={version}"
        pip = "python3 -m pip install -q --no-cache-dir --no-compile --disable-pip-version-check"
        steps = "\n".join(
            (
                "ENV PYTHONDONTWRITEBYTECODE=1",
                "COPY requirements.txt /opt/requirements.txt",
                shell(
                    f"{pip} -r /opt/requirements.txt",
                    f"{pretend} {pip} --no-build-isolation {'--no-deps ' if pins else ''}-e /testbed",
                    "rm -rf /root/.cache /testbed/build",
                ),
            )
        )
        return Environment("python:3.11-bookworm", steps, {"requirements.txt": requirements})

    async def pins(self, sandbox: Sandbox) -> Mapping[str, bytes]:
        """What pip installed, without the project itself."""
        result = await sandbox.run("python3 -m pip freeze --all --exclude-editable --exclude pip", timeout=120, cwd="/")
        if result.exit_code != 0:
            raise ImageError("pip freeze failed in the draft's image", log=result.stderr.decode(errors="replace"))
        return {"requirements.txt": b"".join(line + b"\n" for line in result.stdout.splitlines() if b"==" in line)}


def _requirements(project: Project) -> list[str]:
    """The build tools, the runner of the release's own date and what the tests import, as the project declares it."""
    imports = _imported(project)
    wanted = dict.fromkeys([*_build_requires(project.old), _pytest(project.published), *project.extra])
    for tree in (project.new, project.old):
        for line, certain in _declared(tree):
            name = match[1] if (match := _NAME.match(line)) else ""
            module = _IMPORTS.get(name.lower(), name.replace("-", "_"))
            plugin = name.lower().startswith("pytest-")
            known = {found[1].lower() for text in wanted if (found := _NAME.match(text))}
            if not name or _UNWANTED.match(name) or name.lower() in known or _same(name, project.name):
                continue
            if certain or plugin or module in imports:
                wanted[line.partition("#")[0].strip()] = None
    return list(wanted)


def _pytest(published: date | None) -> str:
    """Old suites want an old runner."""
    if published is None or published >= date(2025, 6, 1):
        return "pytest"
    return "pytest<9" if published >= date(2024, 2, 1) else "pytest<8"


def _build_requires(tree: Path) -> list[str]:
    table = _toml(tree).get("build-system", {})
    backend = table.get("build-backend", "")
    editable = ["editables"] if backend.startswith(("hatchling", "pdm")) else []  # what they ask for only when asked
    return [*(table.get("requires") or ["setuptools>=40.8.0"]), "wheel", *editable]


def _declared(tree: Path) -> Iterator[tuple[str, bool]]:
    """Requirements of the tests as a project declares them, and whether they are certain to be needed."""
    data = _toml(tree)
    groups: dict[str, Any] = {**data.get("project", {}).get("optional-dependencies", {})}
    groups |= data.get("dependency-groups", {})
    poetry = data.get("tool", {}).get("poetry", {})
    groups |= {key: list(value.get("dependencies", {})) for key, value in poetry.get("group", {}).items()}
    groups.setdefault("dev", []).extend(poetry.get("dev-dependencies", {}))
    groups |= _setup_cfg(tree) | _egg_info(tree)
    for name, lines in groups.items():
        if _TEST_GROUPS.match(name) or _DEV_GROUPS.match(name):
            yield from ((line, bool(_TEST_GROUPS.match(name))) for line in lines if isinstance(line, str))
    for path in sorted(tree.rglob("*")):
        if _TEST_FILES.search(path.relative_to(tree).as_posix()) and path.is_file():
            yield from ((line, "test" in path.name) for line in path.read_text("utf-8", "replace").splitlines())


def _egg_info(tree: Path) -> dict[str, list[str]]:
    """The extras that setuptools wrote into a source distribution (`requires.txt`)."""
    groups: dict[str, list[str]] = {}
    for path in tree.glob("**/*.egg-info/requires.txt"):
        group = ""
        for line in path.read_text("utf-8", "replace").splitlines():
            if match := re.fullmatch(r"\[([^\]:]*)(:.*)?\]", line):
                group = match[1]
            elif line.strip() and group:
                groups.setdefault(group, []).append(line)
    return groups


def _setup_cfg(tree: Path) -> dict[str, list[str]]:
    """The extras of setup.cfg, and what tox.ini installs; plugins and whatever the tests import count of the latter."""
    groups: dict[str, list[str]] = {}
    for name, section, keys in (
        ("setup.cfg", "options.extras_require", None),
        ("setup.cfg", "options", ("tests_require",)),
        ("tox.ini", "testenv", ("deps",)),
    ):
        parser = ConfigParser(interpolation=None, strict=False)
        try:
            parser.read_string(first(tree, [name]) or "")
        except ConfigError:
            continue
        for key in (keys or parser.options(section)) if parser.has_section(section) else ():
            lines = parser.get(section, key, fallback="").splitlines()
            group = {"tests_require": "tests", "deps": "dev"}.get(key, key)
            groups.setdefault(group, []).extend(line.strip() for line in lines if _NAME.match(line))
    return groups


def _imported(project: Project) -> set[str]:
    """The top-level modules that the tests import, but for the standard library."""
    found: set[str] = set()
    for name in project.tests:
        if not name.endswith(".py"):
            continue
        try:
            tree = parse((project.new / name).read_bytes())
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names


def _toml(tree: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(first(tree, ["pyproject.toml"]) or "")
    except tomllib.TOMLDecodeError:
        return {}


def _same(one: str, other: str) -> bool:
    return re.sub(r"[-_.]+", "-", one).lower() == re.sub(r"[-_.]+", "-", other).lower()
