"""Reads one task folder: Harbor's layout with our table in `task.toml`. Every defect is a TaskError of one line."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from envfarm.tasks.kinds import check
from envfarm.tasks.near import near_misses
from envfarm.tasks.spec import Task, TaskConfig
from envfarm.toolbox.egress.proxy import Rule
from envfarm.toolbox.errors import TaskError
from envfarm.toolbox.explain import Place, dotted, explain

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_ENV_TABLES = (("environment", "env"), ("verifier", "env"), ("verifier", "environment", "env"), ("solution", "env"))
_IDS = ("fail_to_pass", "pass_to_pass")
_LITTER = {"__pycache__", ".git", ".DS_Store"}


def load(path: Path, *, id: str | None = None) -> Task:
    """Read a task folder; `id` is its name in a registry, the folder's own when not given.

    `${VAR}` and `${VAR:-default}` in the `env` tables are expanded from the environment of this process.
    Raises TaskError, which names the file and the fix.
    """
    raw = _toml(path)
    _check_layout(path, raw)
    warnings = _warnings(path, raw)
    if "envfarm" in raw:
        _merge_ids(path, raw["envfarm"])
    for table in _ENV_TABLES:
        _expand(path, raw, table)
    config = _config(path, raw)
    check(path, config)
    _check_network(path, config)
    name = id or path.resolve().name
    return Task(
        id=name,
        path=path,
        instruction=_text(path / "instruction.md"),
        config=config,
        digest=digest(path),
        warnings=warnings,
    )


def digest(path: Path) -> str:
    """`sha256:` of every file below a folder: names, contents, execute bits and link targets.

    Raises TaskError for what is neither a file, a folder nor a link.
    """
    sha = hashlib.sha256()
    for name, file in files(path):
        if file.is_symlink():
            mark, content = b"link", os.readlink(file).encode()
        else:
            mark = b"exec" if os.access(file, os.X_OK) else b"file"
            content = _bytes(file)
        for part in (name.encode(), mark, content):
            sha.update(len(part).to_bytes(8, "big") + part)
    return f"sha256:{sha.hexdigest()}"


def files(path: Path) -> Iterator[tuple[str, Path]]:
    """Every file and link below a folder with its relative name, sorted; no `__pycache__`, no `.git`."""
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if entry.name in _LITTER:
            continue
        place = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            for name, file in files(place):
                yield f"{entry.name}/{name}", file
        elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
            yield entry.name, place
        else:
            raise TaskError(f"{place}: neither a file, a folder nor a link; remove it from the task")


def _toml(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise TaskError(f"{path}: no such folder; name a task's folder or one that holds some")
    file = path / "task.toml"
    if not file.exists():
        if (path / "task.yaml").exists():
            raise TaskError(f"{path / 'task.yaml'}: a Terminal-Bench 1 task; convert it to Harbor's format (task.toml)")
        raise TaskError(f"{file}: missing; it may be empty, docs/tasks.md has its keys")
    try:
        return tomllib.loads(_text(file))
    except tomllib.TOMLDecodeError as error:
        raise TaskError(f"{file}: not valid TOML: {error}") from None


def _warnings(path: Path, raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys that look misspelt: ours is the table without which a task is another one, so that is an error."""
    misses = near_misses(raw)
    for written, meant in misses:
        if meant == "[envfarm]":
            raise TaskError(f"{path / 'task.toml'}: {written}: no such table; did you mean {meant}?")
    return tuple(
        f"{path / 'task.toml'}: {written}: not read; did you mean {meant.rpartition(' ')[2]}?"
        for written, meant in misses
    )


def _check_layout(path: Path, raw: Mapping[str, Any]) -> None:
    if (path / "steps").is_dir() or "steps" in raw:
        raise TaskError(f"{path / 'steps'}: tasks of several steps are not supported; make each step a task of its own")
    if not _text(path / "instruction.md").strip():
        raise TaskError(f"{path / 'instruction.md'}: empty; write what the agent is to do")
    environment = _table(raw, "environment")
    if environment.get("os", "linux") != "linux":
        raise TaskError(f"{path / 'task.toml'}: [environment] os: only linux can be played, not {environment['os']!r}")
    for name in ("docker-compose.yaml", "docker-compose.yml"):
        if (path / "environment" / name).exists():
            raise TaskError(
                f"{path / 'environment' / name}: tasks of several containers are not supported; use a Dockerfile alone"
            )


def _table(raw: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        inner = raw.get(name, {})
        raw = inner if isinstance(inner, dict) else {}
    return raw


def _merge_ids(path: Path, table: Any) -> None:
    file = path / "tests" / "ids.json"
    if not isinstance(table, dict) or not file.exists():
        return
    try:
        ids = json.loads(_text(file))
    except json.JSONDecodeError as error:
        raise TaskError(f"{file}: not valid JSON: {error}") from None
    fix = f"{file}: expected an object of two lists of test ids, fail_to_pass and pass_to_pass"
    if not isinstance(ids, dict) or set(ids) - set(_IDS):
        raise TaskError(fix)
    for key, names in ids.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TaskError(f"{fix}; {key} is not one")
        known = table.get(key, [])
        if isinstance(known, list):
            table[key] = [*known, *(name for name in names if name not in set(known))]


def _expand(path: Path, raw: dict[str, Any], names: tuple[str, ...]) -> None:
    table = _table(raw, *names)
    if not isinstance(table, dict):
        return
    for key, text in table.items():
        where = f"{path / 'task.toml'}: [{'.'.join(names)}] {key}"
        if isinstance(text, str):
            table[key] = _VARIABLE.sub(partial(_variable, where), text)


def _variable(where: str, match: re.Match[str]) -> str:
    name, default = match[1], match[2]
    if name.startswith("ENVFARM_"):
        raise TaskError(f"{where}: ${{{name}}} is the farm's own setting; a task may not read it")
    if name not in os.environ and default is None:
        raise TaskError(f"{where}: {name} is not set here; export it or write ${{{name}:-a default}}")
    return os.environ.get(name, str(default))


def _config(path: Path, raw: Mapping[str, Any]) -> TaskConfig:
    try:
        return TaskConfig.model_validate(raw)
    except ValidationError as error:
        raise TaskError(f"{path / 'task.toml'}: {explain(error, TaskConfig, where=_in_toml)}") from None


def _in_toml(place: Place) -> str:
    """A key as task files have it: `[agent] timeout_sec`."""
    return f"[{dotted(place[:-1])}] {place[-1]}" if len(place) > 1 else str(place[0])


def _check_network(path: Path, config: TaskConfig) -> None:
    """Each host must be one that a proxy can tell from others, and a list must be what the network's mode asks for."""
    tables = {
        "agent": config.agent,
        "environment": config.environment,
        "verifier": config.verifier,
        "verifier.environment": config.verifier.environment,
    }
    for name, table in tables.items():
        if table is None or not table.allowed_hosts:
            continue
        where = f"{path / 'task.toml'}: [{name}] allowed_hosts"
        if table.network_mode != "allowlist":
            raise TaskError(f'{where}: write network_mode = "allowlist" beside it, or leave it out')
        for text in table.allowed_hosts:
            try:
                Rule.parse(text)
            except ValueError as error:
                raise TaskError(f"{where}: {error}") from None


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise TaskError(f"{file}: cannot be read: {error.strerror}") from None


def _text(file: Path) -> str:
    if not file.exists():
        raise TaskError(f"{file}: missing; add it")
    try:
        return _bytes(file).decode()
    except UnicodeDecodeError as error:
        raise TaskError(f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
