"""Policies that need no model, each a list of calls: the task's own solution, doing nothing, a file of calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from envfarm.envs.base import Move, Scripted, environment
from envfarm.orchestrator.schemas.episodes import Call
from envfarm.tasks.solution import script, solution
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import BadRequest
from envfarm.toolbox.explain import explain


def noop(task: Task) -> list[Call]:
    """Do nothing at all."""
    return []


def oracle(task: Task) -> list[Call]:
    """What the kind knows to be right, else solution/solve.sh, with `[solution] env`. Raises TaskError."""
    kind = environment(task.kind, task.path)
    if isinstance(kind, Scripted):
        return _calls(kind.solution(task))
    return [_bash(solution(task))]


def wrong(task: Task) -> dict[str, list[Call]]:
    """What the kind knows to be wrong, else the plausible solutions in wrong/*.sh; by name.

    Each script finds the files of solution/ beside itself.
    """
    kind = environment(task.kind, task.path)
    if isinstance(kind, Scripted):
        return {name: _calls(moves) for name, moves in kind.wrong(task).items()}
    folder = task.path / "wrong"
    return {
        one.stem: [_bash(script(task, one.name, [task.path / "solution", folder]))]
        for one in sorted(folder.glob("*.sh"))
    }


def scripted(path: Path) -> list[Call]:
    """Calls from a file of JSON lines, each `{"name": …, "arguments": {…}}`. Raises BadRequest with the line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path}: cannot be read: {error}; give oracle, noop or a file of JSON lines") from None
    calls = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                calls.append(Call.model_validate_json(line))
            except ValidationError as error:
                raise BadRequest(
                    f'{path}, line {number}: {explain(error, Call)}; expected {{"name": "bash", "arguments": {{…}}}}'
                ) from None
    return calls


def _calls(moves: Sequence[Move]) -> list[Call]:
    return [Call(name=move.tool, arguments=move.arguments) for move in moves]


def _bash(command: str) -> Call:
    return Call(name="bash", arguments={"command": command})
