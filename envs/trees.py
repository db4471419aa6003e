"""A sandbox's folder as data: read through a bounded pipe, written without following what lies there."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Iterable, Mapping

from envfarm.envs.changes import IGNORED, MAX_TREE, Entry, TooLarge, read_tree, tar_of
from envfarm.toolbox.errors import SandboxError, SandboxSilent
from envfarm.toolbox.sandboxes.base import Sandbox

_TIMEOUT = 120.0  # seconds
_HOLES = "{ tar --version 2>/dev/null | grep -q GNU && holes=--sparse || holes=; }"  # else 100 GB of nothing are read


async def fetch_tree(
    sandbox: Sandbox, path: str, *, skip: tuple[str, ...] = (), left_out: dict[str, str] | None = None
) -> dict[str, Entry]:
    """The files and links below a folder, without ignored names.

    What arrives is what root of that sandbox wants us to see, which is as good as what is there: it is only ever data.
    Raises TooLarge, ValueError (not a folder, or its `tar` does not give one), SandboxSilent (its `tar` does not end),
    SandboxError.
    """
    excluded = " ".join(shlex.quote(f"--exclude={name}") for name in (*IGNORED, *skip))
    result = await sandbox.run(
        f"cd {shlex.quote(path)} && {_HOLES} && tar -c $holes {excluded} -f - . 2>/dev/null | head -c {MAX_TREE + 1}",
        user="root",
        cwd="/",
        timeout=_TIMEOUT,
        output_limit=MAX_TREE + 1,
    )
    if result.timed_out:
        raise SandboxSilent(f"{path} could not be read within {_TIMEOUT:g} s")
    if len(result.stdout) > MAX_TREE:
        raise TooLarge(f"the repository is larger than {MAX_TREE >> 20} MiB")
    if result.exit_code != 0:
        raise ValueError(f"{path} is not there")
    return await asyncio.to_thread(read_tree, result.stdout, skip=skip, left_out=left_out)


async def lay(sandbox: Sandbox, path: str, written: Mapping[str, Entry], deleted: Iterable[str]) -> None:
    """Change a folder of a sandbox that no agent has touched.

    What is written is dated now, so that no build takes it for older than what it built before.
    """
    gone = b"".join(f"./{name}".encode("utf-8", "surrogateescape") + b"\0" for name in (*deleted, *written))
    if gone:
        result = await sandbox.run(
            f"cd {shlex.quote(path)} && xargs -0 rm -rf --", user="root", cwd="/", stdin=gone, timeout=_TIMEOUT
        )
        if result.exit_code != 0:
            raise SandboxError(f"{path} could not be changed: {result.stderr[-300:].decode(errors='replace')}")
    if written:
        await sandbox.put_tree(await asyncio.to_thread(tar_of, written, mtime=int(time.time())), path)
