"""Pages for the renderer's tests, and the hand that records them."""

from __future__ import annotations

import io
import tarfile
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from envfarm.envs.web.recording import RenderJob
from envfarm.envs.web.renderer import Recorded, record
from envfarm.toolbox.sandboxes.base import Backend, Sandbox, SandboxSpec
from envfarm.toolbox.sandboxes.docker import DockerBackend


def tar(files: Mapping[str, str | bytes]) -> bytes:
    """A folder as a tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Recorder:
    """Records pages in sandboxes of a back end."""

    def __init__(self, backend: Backend | None = None) -> None:
        self.backend = backend or DockerBackend()
        self.owner = f"renderer-{uuid.uuid4().hex[:8]}"

    async def __call__(
        self, site: Mapping[str, str | bytes] | str, *, assets: Mapping[str, str | bytes] | None = None, **job: Any
    ) -> Recorded:
        """Record a folder, or a page alone; keywords are those of RenderJob."""
        files = {"index.html": site} if isinstance(site, str) else site
        return await record(
            self._fresh, RenderJob.model_validate(job), tar(files), assets=None if assets is None else tar(assets)
        )

    async def close(self) -> None:
        """Remove what is left."""
        await self.backend.reap(self.owner, keep=())
        await self.backend.close()

    @asynccontextmanager
    async def _fresh(self, spec: SandboxSpec) -> AsyncIterator[Sandbox]:
        sandbox = await self.backend.start(spec, owner=self.owner, lease="page")
        try:
            yield sandbox
        finally:
            await sandbox.close()
