"""Takes an agent's work out of its sandbox, as artefacts.

What is taken is what the sandbox says, by its own `find` and `tar`, which a hostile agent may have replaced: it can
say nothing there that it could not have done to its own files.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable

from envfarm.envs.carry import CARRY_LIMIT
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.errors import SandboxSilent
from envfarm.toolbox.sandboxes.base import Sandbox

SKIPPED = ("/proc", "/sys", "/dev", "/tests", "/solution", "/logs/verifier")
"""Folders whose changes are nobody's work."""

_TIMEOUT = 120.0  # seconds
NAMES_LIMIT = 64 << 20
"""Bytes of the names of all files."""

PRUNED = r"\( " + " -o ".join(f"-path {path}" for path in SKIPPED) + r" \) -prune"

ROOTS = rf"""
set -f
roots=/
while read -r _ folder _; do
    case $folder in
    / | {" | ".join(f"{path} | {path}/*" for path in SKIPPED)}) ;;
    *) [ ! -d "$folder" ] || roots="$roots $folder" ;;
    esac
done < /proc/mounts
"""
"""Sets `roots` to the root and what is mounted below it: volumes of the image, gVisor's own /tmp."""

_PRESENT = f"{ROOTS}find $roots -xdev {PRUNED} -o -print0"

# The main process started with the sandbox: what has a later change time (which nobody can set) is the agent's.
_CHANGED = rf"""{ROOTS}
while read -r key value; do [ "$key" = btime ] && boot=$value; done < /proc/stat
read -r main < /proc/1/stat
main=${{main##*) }}
set -- $main
shift 19
since=$((boot + $1 / 100 - 1))
if find / -maxdepth 0 -newerct "@$since" > /dev/null 2>&1; then
    find $roots -xdev {PRUNED} -o -newerct "@$since" -print0
else
    find $roots -xdev {PRUNED} -o -exec stat -c '%Z %n' {{}} + |
        while read -r time name; do [ "$time" -lt "$since" ] || printf '%s\0' "$name"; done
fi
"""

# Busybox has no -T: where the names do not fit one call, several archives follow each other.
_TAR = """
if tar --version 2> /dev/null | grep -q GNU; then tar -C / -cPf - --null --no-recursion -T -
else xargs -0 -r -s 100000 tar -C / -cf - --no-recursion
fi
"""


async def take_changes(sandbox: Sandbox, artifacts: Artifacts) -> dict[str, str]:
    """A tar of every file that was made or changed since the sandbox started, and the paths that there are now.

    The tar breaks off after CARRY_LIMIT bytes. Raises SandboxError.
    """
    present = await taken(sandbox, _PRESENT, artifacts, NAMES_LIMIT)
    changes = await taken(sandbox, f"{{\n{_CHANGED}\n}} | {{\n{_TAR}\n}}", artifacts, CARRY_LIMIT)
    return {"present": present, "changes": changes}


async def take_paths(sandbox: Sandbox, paths: Iterable[str], artifacts: Artifacts) -> dict[str, str]:
    """A tar of these files and folders, as far as they exist. Raises SandboxError."""
    quoted = " ".join(shlex.quote(path) for path in paths)
    names = f'for path in {quoted}; do [ -e "$path" ] || [ -h "$path" ] && find "$path" -print0; done'
    return {"changes": await taken(sandbox, f"{{ {names}; }} | {{\n{_TAR}\n}}", artifacts, CARRY_LIMIT)}


def split_names(data: bytes) -> list[str]:
    """Paths that `-print0` wrote."""
    return [name.decode("utf-8", "surrogateescape") for name in data.split(b"\0") if name]


async def can_take(sandbox: Sandbox) -> bool:
    """Whether the programs of an untouched sandbox can make the tar at all. Raises SandboxError."""
    result = await sandbox.run(f"printf '/etc\\0' | {{\n{_TAR}\n}}", user="root", cwd="/", timeout=_TIMEOUT)
    return result.exit_code == 0 and len(result.stdout) >= 512


async def taken(sandbox: Sandbox, command: str, artifacts: Artifacts, limit: int, what: str = "its files") -> str:
    """The digest of what a command prints; of more than `limit` bytes, of `limit` and one.

    Raises SandboxSilent, which says `what` could not be read, when it does not end.
    """
    result = await sandbox.run(
        f"{{\n{command}\n}} 2> /dev/null | head -c {limit + 1}",
        user="root",
        cwd="/",
        timeout=_TIMEOUT,
        output_limit=limit + 1,  # that `head` is the agent's
    )
    if result.timed_out:
        raise SandboxSilent(f"{what} could not be read within {_TIMEOUT:g} s")
    return await asyncio.to_thread(artifacts.put, result.stdout)
