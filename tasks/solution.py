"""A task's own solution as one shell command, so that it plays wherever a command runs, over HTTP too."""

from __future__ import annotations

import base64
import io
import shlex
import tarfile
from collections.abc import Sequence
from pathlib import Path

from envfarm.tasks.folder import files
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import TaskError

_UNPACK = """\
d=/solution; mkdir -p $d 2>/dev/null && [ -w $d ] || d=$(mktemp -d)
base64 -d <<'ENVFARM' | tar -x -f - -C $d
{tar}
ENVFARM
{exports}chmod +x $d/{script} && $d/{script}
"""


def solution(task: Task) -> str:
    """Unpacks solution/ and runs its solve.sh, with `[solution] env`. Raises TaskError when there is none."""
    if not (task.path / "solution" / "solve.sh").is_file():
        raise TaskError(
            f"{task.path / 'solution' / 'solve.sh'}: missing; without it nothing shows that the task is sound"
        )
    return script(task, "solve.sh", [task.path / "solution"])


def script(task: Task, name: str, folders: Sequence[Path]) -> str:
    """Unpacks folders into one and runs a script of theirs there, with `[solution] env`."""
    exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in sorted(task.config.solution.env.items()))
    return _UNPACK.format(tar=base64.encodebytes(_tar(folders)).decode().strip(), exports=exports, script=name)


def _tar(folders: Sequence[Path]) -> bytes:
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
