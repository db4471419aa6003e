"""Policies that need no model, each a list of calls: the task's own solution, doing nothing, a file of calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from envfarm.orchestrator.schemas.episodes import Call
from envfarm.tasks.search.question import FILE, load
from envfarm.tasks.search.solution import Made, chain, guess
from envfarm.tasks.solution import script, solution
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import BadRequest
from envfarm.toolbox.explain import explain


def noop(task: Task) -> list[Call]:
    """Do nothing at all."""
    return []


def oracle(task: Task) -> list[Call]:
    """Play solution/solve.sh from the working directory, with `[solution] env`; a question's chain of evidence.

    Raises TaskError.
    """
    if _asks(task):
        return _calls(chain(load(task.path)))
    return [_bash(solution(task))]


def wrong(task: Task) -> dict[str, list[Call]]:
    """The plausible wrong solutions in wrong/*.sh by name; each finds the files of solution/ beside itself.

    Of a question it is a guess. Raises TaskError.
    """
    if _asks(task):
        return {"guess": _calls(guess(load(task.path)))}
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


def _asks(task: Task) -> bool:
    return (task.path / FILE).is_file()


def _calls(made: Sequence[Made]) -> list[Call]:
    return [Call(name=name, arguments=arguments) for name, arguments in made]


def _bash(command: str) -> Call:
    return Call(name="bash", arguments={"command": command})
