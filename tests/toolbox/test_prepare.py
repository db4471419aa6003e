"""What a sandbox has behind it before anybody gets it."""

from __future__ import annotations

import pytest

from envfarm.toolbox.errors import SandboxStartError
from envfarm.toolbox.prepare import start_prepared
from envfarm.toolbox.sandboxes.base import SandboxSpec
from envfarm.toolbox.sandboxes.docker import DockerBackend
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend


async def test_a_set_up_that_fails_leaves_no_sandbox() -> None:
    backend = SimulatedBackend()
    with pytest.raises(SandboxStartError, match="x: its set-up ended with 127: sh: broken: not found"):
        await start_prepared(backend, SandboxSpec(image="x", setup="broken"), owner="test", lease="one")
    assert backend.sandboxes == {}


async def test_set_up_as_root_and_a_session_as_the_user(docker_base: str) -> None:
    backend = DockerBackend()
    spec = SandboxSpec(image=docker_base, user="nobody", setup="id -un > /made; chmod 600 /made", session="agent")
    sandbox = await start_prepared(backend, spec, owner="test-prepare", lease="one")
    try:
        assert await sandbox.read("/made") == b"root\n"
        said = await sandbox.run("id -un; cat /made", session="agent")
        assert (said.stdout, said.exit_code) == (b"nobody\n", 1)
    finally:
        await sandbox.close()
        await backend.close()


async def test_a_user_that_the_image_lacks_is_named(docker_base: str) -> None:
    backend = DockerBackend()
    spec = SandboxSpec(image=docker_base, user="nobodyhere", session="agent")
    try:
        with pytest.raises(SandboxStartError, match="does not start: no such user: nobodyhere; make that user in"):
            await start_prepared(backend, spec, owner="test-prepare", lease="one")
        assert await backend.find("test-prepare") == []
    finally:
        await backend.close()
