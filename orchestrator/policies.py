"""Policies that need no model, each a list of calls: the task's own solution, doing nothing, a file of calls."""

from __future__ import annotations

import base64
import io
import shlex
import tarfile
from pathlib import Path

from pydantic import ValidationError

from envfarm.orchestrator.schemas import Call
from envfarm.tasks.folder import files
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import BadRequest, TaskError
from envfarm.toolbox.explain import explain

_UNPACK = """\
d=/solution; mkdir -p $d 2>/dev/null && [ -w $d ] || d=$(mktemp -d)
base64 -d <<'ENVFARM' | tar -x -f - -C $d
{tar}
ENVFARM
{exports}chmod +x $d/{script} && $d/{script}
"""


def noop(task: Task) -> list[Call]:
    """Do nothing at all."""
    return []


def oracle(task: Task) -> list[Call]:
    """Play the task's solution/solve.sh from the working directory, with `[solution] env`. Raises TaskError."""
    if not (task.path / "solution" / "solve.sh").is_file():
        raise TaskError(
            f"{task.path / 'solution' / 'solve.sh'}: missing; without it nothing shows that the task is sound"
        )
    return [_script(task, "solve.sh", [task.path / "solution"])]


def wrong(task: Task) -> dict[str, list[Call]]:
    """The plausible wrong solutions in wrong/*.sh by name; each finds the files of solution/ beside itself."""
    folder = task.path / "wrong"
    return {
        script.stem: [_script(task, script.name, [task.path / "solution", folder])]
        for script in sorted(folder.glob("*.sh"))
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


def _script(task: Task, script: str, folders: list[Path]) -> Call:
    """One call of `bash` that unpacks folders and runs a script of theirs, so that it works over HTTP too."""
    exports = "".join(
        f"export {name}={shlex.quote(value)}\n" for name, value in sorted(task.config.solution.env.items())
    )
    tar = base64.encodebytes(_tar(folders)).decode().strip()
    return Call(name="bash", arguments={"command": _UNPACK.format(tar=tar, exports=exports, script=script)})


def _tar(folders: list[Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in folders:
            for name, file in files(folder) if folder.is_dir() else ():
                entry = tar.gettarinfo(str(file), name)
                entry.mtime = entry.uid = entry.gid = 0
                entry.uname = entry.gname = ""
                if entry.isreg():
                    with file.open("rb") as content:
                        tar.addfile(entry, content)
                else:
                    tar.addfile(entry)
    return buffer.getvalue()
