"""Sandboxes on any engine with Docker's API."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import docker.errors
from pydantic import ValidationError

from envfarm.toolbox.egress.config import EgressConfig
from envfarm.toolbox.errors import (
    BackendUnavailable,
    ForkUnsupported,
    ImageError,
    SandboxError,
    SandboxLost,
    SandboxStartError,
)
from envfarm.toolbox.sandboxes import docker_fork
from envfarm.toolbox.sandboxes.base import Sandbox, SandboxInfo, SandboxSpec
from envfarm.toolbox.sandboxes.docker_client import DockerApi
from envfarm.toolbox.sandboxes.docker_create import create
from envfarm.toolbox.sandboxes.docker_egress import EGRESS, Egress, sweep
from envfarm.toolbox.sandboxes.docker_stream import DockerStream, attach
from envfarm.toolbox.sandboxes.held import Defaults, HeldSandbox, defaults
from envfarm.toolbox.sandboxes.session import Session
from envfarm.toolbox.sandboxes.shell import Shell

OWNER, LEASE, SPEC, SECRET = "envfarm.owner", "envfarm.lease", "envfarm.spec", "envfarm.secret"
_TRIES = 10  # at a start beside farms that make the public network at the same moment
ENGINE_RACES = ("failed to create endpoint", "no such network interface", "could not find bridge", "context deadline")
"""What an engine says when starting a container failed for reasons of its own."""
START_TIMEOUT = 60.0
ENGINE_AWAY = 5.0
"""Seconds for which an engine that is gone may come back, with its containers."""
REMOVAL = 0.5
"""Seconds that the engine may take from the end of a container's main process to the container's removal."""


class DockerSandbox(HeldSandbox):
    """One container whose main process is the held shell."""

    def __init__(self, backend: DockerBackend, container: str, spec: SandboxSpec, shell: Shell, defaults: Defaults):
        super().__init__(container, spec, shell, defaults)
        self._backend = backend
        self.patience = ENGINE_AWAY
        self.egress: Egress | None = None

    async def stream(self) -> DockerStream:
        """A stream to the main process. Raises BackendUnavailable, SandboxLost."""
        api = self._backend.api
        return await attach(api.url, self._id, self.shell.feed, self.closed, tls=api.tls)

    async def cause(self) -> SandboxLost | None:
        """Why the container is dead; None while it lives. Raises BackendUnavailable."""
        error = await self._backend.cause(self._id)
        if error is not None and error.cause == "engine":
            raise BackendUnavailable(str(error))
        return error

    async def history(self) -> dict[int, bytes]:
        """What the engine logged. Raises SandboxLost, BackendUnavailable."""
        return await self._backend.history(self._id)

    async def fork(self, leases: Sequence[str]) -> list[Sandbox]:
        """Copies of the container; see `Sandbox.fork`. Raises ForkUnsupported, SandboxError."""
        work = asyncio.get_running_loop().create_task(self._fork(leases))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:  # the engine cannot be stopped half-way: what it makes is removed afterwards
            await asyncio.wait([work])
            if not work.cancelled() and work.exception() is None:
                await self._discard(work.result())
            raise

    async def _fork(self, leases: Sequence[str]) -> list[Sandbox]:
        api = self._backend.api
        if self.egress is not None:  # the copy's processes would know the origin's proxy, by an address of its network
            raise ForkUnsupported("network allowlist has no forks: set network_mode to no-network or public")
        async with self._lock:
            await self.shell.settle()
            if self.shell.is_lost:
                raise self.shell.lost
            folder = await docker_fork.check(api, self._id, self._spec)
            made = await docker_fork.create(api, self._id, [{LEASE: lease} for lease in leases])
            twins = [
                DockerSandbox(self._backend, one, self._spec, Shell(self.shell.secret), self.defaults) for one in made
            ]
            try:
                await docker_fork.checkpoint(api, folder, self._id, made)
            except SandboxError:
                await self._discard(twins)
                raise
            for twin in twins:
                twin.shell.era = self.shell.era
            sessions = [replace(session) for session in self._sessions.values()]
        restored = await asyncio.gather(*(twin._go_on(folder, sessions) for twin in twins), return_exceptions=True)
        for error in restored:
            if error is not None:
                await self._discard(twins)
                raise error
        return list(twins)

    async def _discard(self, twins: Sequence[Sandbox]) -> None:
        """Remove forks that nobody gets."""
        await asyncio.gather(*(twin.detach() for twin in twins))
        await docker_fork.discard(self._backend.api, [twin.id for twin in twins])

    async def _go_on(self, folder: Path, sessions: Sequence[Session]) -> None:
        """Be the fork that this container was made for. Raises SandboxStartError, BackendUnavailable."""
        try:
            await self.attach()
            await docker_fork.restore(self._backend.api, folder, self._id)
            self.shell.anew(sessions)
            await self.resume(self.history)
            hidden = await self.shell.script(docker_fork.hide(self._id), timeout=START_TIMEOUT)
        except SandboxLost as error:
            raise SandboxStartError(f"a fork does not start: {error}") from None
        if hidden.exit_code != 0:  # else scoring would take that file for the agent's work
            raise SandboxStartError(f"a fork cannot be tidied: {hidden.stderr[-300:].decode('utf-8', 'replace')}")

    async def go_out(self, egress: Egress) -> None:
        """Have a way out; the sandbox is lost with it. Raises SandboxLost, BackendUnavailable."""
        self.egress = egress
        await egress.watch(self._stranded)

    def _stranded(self, error: SandboxLost) -> None:
        self.lose(error)
        self.let_go()

    def let_go(self) -> None:
        """Let go of the streams for good; the container lives on."""
        super().let_go()
        if self.egress is not None:
            self.egress.let_go()

    async def close(self) -> None:
        """Remove the container, and its way out."""
        await self.detach()
        await self._backend.api.remove(self._id)
        if self.egress is not None:
            await self.egress.remove()


class DockerBackend:
    """Makes containers, and finds those it made before."""

    name = "docker"

    def __init__(self, url: str | None = None, *, egress: EgressConfig | None = None) -> None:
        self.api = DockerApi(url)
        self.egress = egress or EgressConfig()
        self._opened: set[str] = set()  # ways out of sandboxes that are being started
        self._limits_disk = True  # until the engine refuses

    @property
    def url(self) -> str:
        """The engine's address."""
        return self.api.url

    async def start(self, spec: SandboxSpec, *, owner: str, lease: str) -> Sandbox:
        """Start a container. Raises SandboxStartError, BackendUnavailable, ImageError."""
        for _ in range(_TRIES):
            try:
                return await self._start_once(spec, owner, lease)
            except SandboxStartError as error:
                if error.cause != "network":  # else farms that begin together are still making the public network
                    raise
            await asyncio.sleep(random.uniform(0.1, 0.5))
        return await self._start_once(spec, owner, lease)

    async def _start_once(self, spec: SandboxSpec, owner: str, lease: str) -> Sandbox:
        if spec.network != "allowlist":
            return await self._make(spec, owner, lease, None)
        egress = await Egress.open(self.api, spec.allowed_hosts, self.egress, owner)
        self._opened.add(egress.name)
        try:
            return await self._make(spec, owner, lease, egress)
        except BaseException:
            await egress.remove()
            raise
        finally:
            self._opened.discard(egress.name)

    async def _make(self, spec: SandboxSpec, owner: str, lease: str, egress: Egress | None) -> DockerSandbox:
        image = await self.api.image(spec.image)
        secret = secrets.token_hex(16)
        shell = Shell(secret)
        network = await self.api.network() if spec.network == "public" else "none"
        labels = {OWNER: owner, LEASE: lease, SECRET: secret, SPEC: spec.model_dump_json()}
        if egress is not None:
            network, labels = egress.name, labels | {EGRESS: egress.name}
        proxies = egress.environment if egress is not None else {}
        creation = asyncio.ensure_future(
            self.api.call(
                lambda client: self._create_limited(client, spec, image["Id"], shell.hello, network, labels, proxies)
            )
        )
        try:
            container = await asyncio.shield(creation)
        except asyncio.CancelledError:
            with contextlib.suppress(SandboxError):
                await self.api.remove(await creation)  # the engine makes it all the same
            raise
        config = image["Config"]
        sandbox = DockerSandbox(self, container, spec, shell, defaults(spec, config))
        try:
            await sandbox.attach()
            await self._start(container)
            await sandbox.greet(START_TIMEOUT)
            if egress is not None:
                await sandbox.go_out(egress)
            await sandbox.entrypoint(config)
        except SandboxLost as error:
            log = await self._log(container)
            await sandbox.close()
            raise SandboxStartError(f"{spec.image} does not start: {error}{log}") from None
        except BaseException:
            await sandbox.close()
            raise
        return sandbox

    async def _start(self, container: str) -> None:
        """Start it, again when the engine trips over itself, as it does under load."""
        for pause in (0.2, 1.0, None):
            try:
                await self.api.call(lambda client: client.api.start(container))
                return
            except SandboxStartError as error:
                if pause is None or not any(text in str(error) for text in ENGINE_RACES):
                    raise
                await asyncio.sleep(pause)

    async def attach(self, sandbox_id: str) -> Sandbox:
        """Take back a running container, with its sessions and its running command. Raises SandboxLost."""
        try:
            return await self._attach(sandbox_id)
        except SandboxLost:
            raise
        except BackendUnavailable as error:
            raise SandboxLost(f"the engine is gone: {error}", cause="engine") from None
        except (SandboxError, ImageError, ValidationError, KeyError, ValueError) as error:
            raise SandboxLost(f"{sandbox_id} cannot be taken back: {error!r}", cause="stream") from None

    async def _attach(self, sandbox_id: str) -> Sandbox:
        about = await self.api.call(lambda client: client.api.inspect_container(sandbox_id))
        if not about["State"]["Running"]:
            raise await self.cause(sandbox_id) or SandboxLost("the container was started again", cause="killed")
        labels = about["Config"]["Labels"]
        spec = SandboxSpec.model_validate_json(labels[SPEC])
        config = (await self.api.image(about["Image"]))["Config"]
        sandbox = DockerSandbox(self, about["Id"], spec, Shell(labels[SECRET]), defaults(spec, config))
        await sandbox.take_back()
        if EGRESS in labels:
            try:
                await sandbox.go_out(Egress(self.api, labels[EGRESS]))
            except BaseException:
                await sandbox.detach()
                raise
        return sandbox

    async def history(self, container: str) -> dict[int, bytes]:
        """What the engine logged of both streams. Raises SandboxLost, BackendUnavailable."""
        out = await self.api.call(lambda client: client.api.logs(container, stdout=True, stderr=False))
        err = await self.api.call(lambda client: client.api.logs(container, stdout=False, stderr=True))
        return {1: out, 2: err}

    async def take(self, spec: SandboxSpec, *, owner: str, lease: str) -> Sandbox | None:
        """None: an engine serves one farm server."""
        return None

    async def offer(self, sandbox: Sandbox) -> None:
        """Nobody else could take it."""

    async def place(self) -> str | None:
        """The engine's own id: its address may mean another one elsewhere. Raises BackendUnavailable."""
        about = await self.api.call(lambda client: client.info())
        return f"docker {about['ID']}" if about.get("ID") else None

    async def claim(self, sandbox: Sandbox, *, owner: str, lease: str) -> bool:
        """It is this server's already: labels cannot be changed, and the store says who drives it."""
        return True

    async def find(self, owner: str) -> list[SandboxInfo]:
        """Every container of that owner, running or not."""
        filters = {"label": f"{OWNER}={owner}"}
        found = await self.api.call(lambda client: client.api.containers(all=True, filters=filters))
        return [
            SandboxInfo(
                id=one["Id"],
                owner=owner,
                lease=one["Labels"].get(LEASE, ""),
                running=one["State"] == "running",
                created=float(one["Created"]),
            )
            for one in found
        ]

    async def reap(self, owner: str, *, keep: Collection[str]) -> list[str]:
        """Remove the owner's containers that are not in `keep`."""
        doomed = [one.id for one in await self.find(owner) if one.id not in keep]
        await asyncio.gather(*(self.api.remove(one) for one in doomed))
        filters = {"label": f"{OWNER}={owner}"}
        alive = await self.api.call(lambda client: client.api.containers(all=True, filters=filters))
        await sweep(self.api, owner, used={one["Labels"].get(EGRESS, "") for one in alive} | self._opened)
        return doomed

    async def close(self) -> None:
        """Let go of the engine; containers stay."""
        await self.api.close()

    async def cause(self, container: str) -> SandboxLost | None:
        """Why a container is dead; None when it lives."""
        try:
            state = (await self.api.call(lambda client: client.api.inspect_container(container)))["State"]
        except SandboxLost as error:
            return error
        except BackendUnavailable as error:
            return SandboxLost(f"the engine is gone: {error}", cause="engine")
        if state["OOMKilled"]:
            return SandboxLost("the sandbox ran out of memory", cause="oom")
        if not state["Running"]:  # a removal kills first
            await asyncio.sleep(REMOVAL)
            try:
                await self.api.call(lambda client: client.api.inspect_container(container))
            except SandboxLost as error:
                return error
            except BackendUnavailable as error:
                return SandboxLost(f"the engine is gone: {error}", cause="engine")
        if state["Running"]:
            return None
        return SandboxLost(f"the sandbox's main process was killed (exit code {state['ExitCode']})", cause="killed")

    def _create_limited(self, client: docker.DockerClient, spec: SandboxSpec, *rest: Any) -> str:
        """Create it with a limit on its disk, or without where the storage driver has none."""
        limited = spec.limits.disk_mb is not None and self._limits_disk  # another start may find out meanwhile
        try:
            return create(client, spec, *rest, limit_disk=self._limits_disk)
        except docker.errors.APIError as error:
            if not limited or "storage" not in (error.explanation or ""):
                raise
            self._limits_disk = False
            return create(client, spec, *rest, limit_disk=self._limits_disk)

    async def _log(self, container: str) -> str:
        try:
            text = await self.api.call(lambda client: client.api.logs(container, tail=5))
        except (SandboxError, BackendUnavailable):
            return ""
        return f": {text.decode('utf-8', 'replace').strip()}" if text else ""
