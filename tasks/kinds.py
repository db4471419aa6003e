"""What each kind of task needs in its folder, beyond what every folder has: one function a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from envfarm.tasks.page import load_page
from envfarm.tasks.spec import TaskConfig
from envfarm.toolbox.errors import TaskError

Check = Callable[[Path, TaskConfig], None]
"""Sees whether a kind's environment can play a folder. Raises TaskError, which names the file and the fix."""


def check(path: Path, config: TaskConfig) -> None:
    """See that a task has what its kind needs; a kind of somebody else's needs what Harbor does. Raises TaskError."""
    CHECKS.get(config.envfarm.kind, _harbor)(path, config)


def _harbor(path: Path, config: TaskConfig) -> None:
    _image(path, config)
    verifier = config.verifier.environment
    if not (path / "tests" / "test.sh").is_file() and not (verifier and verifier.docker_image):
        raise TaskError(
            f"{path / 'tests' / 'test.sh'}: missing; add it: it runs after the agent and writes "
            "/logs/verifier/reward.json or reward.txt"
        )
    _live(path, config)


def _swe(path: Path, config: TaskConfig) -> None:
    _harbor(path, config)
    for key in ("runner", "fail_to_pass"):
        if not getattr(config.envfarm, key):
            raise TaskError(f"{path / 'task.toml'}: [envfarm] {key}: missing; a task of kind swe needs it")


def _search(path: Path, config: TaskConfig) -> None:
    """No sandbox is needed, but for the tool `bash`."""
    if config.envfarm.search is None:
        raise TaskError(f"{path / 'task.toml'}: [envfarm.search]: missing; a task of kind search needs it")
    if "bash" in config.envfarm.search.tools:
        _image(path, config)
    if not (path / "question.json").is_file():
        raise TaskError(f"{path / 'question.json'}: missing; it holds the answer and the evidence for it")


def _web(path: Path, config: TaskConfig) -> None:
    """What is built is looked at in a browser, so there is no test.sh."""
    _image(path, config)
    load_page(path)


def _image(path: Path, config: TaskConfig) -> None:
    if not config.environment.docker_image and not (path / "environment" / "Dockerfile").is_file():
        raise TaskError(
            f"{path / 'environment' / 'Dockerfile'}: missing; add it, or name a built image in task.toml: "
            "[environment] docker_image"
        )


def _live(path: Path, config: TaskConfig) -> None:
    """Tests that run beside what the agent left running can only be trusted where it could not reach them."""
    if not config.envfarm.services_survive or config.verifier.separate:
        return
    user = str(config.agent.user or "").partition(":")[0]
    if user in ("", "root") or (user.isdigit() and int(user) == 0):
        raise TaskError(
            f"{path / 'task.toml'}: [envfarm] services_survive needs [agent] user, a user of the image that is not "
            "root: a root agent's processes could reach the tests"
        )


CHECKS: Mapping[str, Check] = {"terminal": _harbor, "swe": _swe, "search": _search, "web": _web}
