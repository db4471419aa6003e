"""Starting a sandbox so that its first command is as quick as any other."""

from __future__ import annotations

import asyncio

from envfarm.toolbox.errors import SandboxStartError
from envfarm.toolbox.sandboxes.base import WARM, Backend, ExecResult, Sandbox, SandboxSpec

_TIMEOUT = 60.0


async def start_prepared(backend: Backend, spec: SandboxSpec, *, owner: str, lease: str) -> Sandbox:
    """Start a sandbox, run its spec's `setup` and open its `session`: what a warm sandbox has behind it.

    Where another server of the farm has a warm one, that is taken instead; one for a pool is offered to the others.
    Raises SandboxStartError, BackendUnavailable, ImageError.
    """
    if lease != WARM and (taken := await backend.take(spec, owner=owner, lease=lease)) is not None:
        return taken
    sandbox = await backend.start(spec, owner=owner, lease=lease)
    ready = False
    try:
        if spec.setup:
            result = await sandbox.run(spec.setup, user="root", cwd="/", timeout=_TIMEOUT)
            if result.exit_code != 0:
                said = result.stderr[-300:].decode("utf-8", "replace").strip()
                raise SandboxStartError(f"{spec.image}: its set-up ended with {result.exit_code}: {said}")
        if spec.session is not None:
            result = await sandbox.run(":", session=spec.session, timeout=_TIMEOUT)
            if result.exit_code != 0:
                raise SandboxStartError(f"{spec.image}: its shell does not start: {await _why(sandbox, result)}")
        if lease == WARM:
            await backend.offer(sandbox)
        ready = True
    finally:
        if not ready:
            await asyncio.shield(sandbox.close())
    return sandbox


async def _why(sandbox: Sandbox, result: ExecResult) -> str:
    """Why a session does not start, in words: a session has nowhere to say it, a command in a fresh shell has."""
    alone = await sandbox.run(":", timeout=_TIMEOUT)
    said = (alone.stderr or result.stderr)[-300:].decode("utf-8", "replace").strip()
    if said.startswith("no such user"):
        return f"{said}; make that user in the image, or name another one for the agent"
    return said or f"it ended with {result.exit_code}"
