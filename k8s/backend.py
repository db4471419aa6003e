"""Sandboxes in the pods of a cluster: made, found, claimed and removed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import secrets
from collections.abc import Collection, Mapping
from typing import Any

import orjson

from envfarm.k8s import boot, egress, faults, labels
from envfarm.k8s.claims import Claims
from envfarm.k8s.client import ApiRefused, ClusterApi
from envfarm.k8s.config import KubernetesConfig
from envfarm.k8s.pod import Template, TemplateError, manifest
from envfarm.k8s.pods import Pod, Pods
from envfarm.k8s.preflight import PROBE, Proof
from envfarm.k8s.reaper import Reaper, remove
from envfarm.k8s.registry import Image, Registry
from envfarm.k8s.sandbox import KubernetesSandbox
from envfarm.toolbox.egress.config import EgressConfig
from envfarm.toolbox.errors import BackendUnavailable, SandboxError, SandboxLost, SandboxStartError
from envfarm.toolbox.sandboxes.base import WARM as WARM_LEASE
from envfarm.toolbox.sandboxes.base import Sandbox, SandboxInfo, SandboxSpec
from envfarm.toolbox.sandboxes.held import defaults
from envfarm.toolbox.sandboxes.shell import Shell

GREETING = 60.0
"""Seconds in which the main process of a running pod must say that it is ready."""
TRIES = 3
"""Pods that a start may use up: one that its node or the scheduler ended before it was ready is replaced."""
_REPLACED = frozenset({"evicted", "preempted", "node", "removed"})
_CANDIDATES = 8  # warm pods of other servers that are tried before a new one is made


class KubernetesBackend:
    """Makes pods, and finds those it made before. Raises TemplateError: a template that cannot be used.

    `images` are configurations of images that need not be read from their registries.
    """

    name = "kubernetes"
    sandbox_class = KubernetesSandbox

    def __init__(
        self,
        config: KubernetesConfig | None = None,
        *,
        egress: EgressConfig | None = None,
        images: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        self.config = config or KubernetesConfig()
        self.egress = egress or EgressConfig()
        self.template = Template.load(self.config.template)
        _ = self.template.pod
        self.path = f"/api/v1/namespaces/{self.config.namespace}/pods"
        self.api = ClusterApi(self.config)
        self.pods = Pods(self.api, self.path, f"{labels.FARM}={self.config.farm}", index=_offered)
        self.reaper = Reaper(self.api, self.pods, self.config)
        self.claims = Claims(self.api, self.pods, self.path, self.config.deadline_seconds)
        self.registry = Registry(self.config, images)
        self.proof = Proof(self)
        self._opening = asyncio.Lock()
        self.opened = False

    async def open(self) -> None:
        """Try the template on the API and read all pods, once. Raises TemplateError, BackendUnavailable, ApiRefused."""
        async with self._opening:
            if not self.opened:
                await self._try_template()
                await self.pods.open()
                self.opened = True

    async def _try_template(self) -> None:
        """Have the API refuse what it does not know of a pod, which else it would leave out without a word."""
        spec = SandboxSpec(image="envfarm/template:1", network="public")
        body = manifest(
            self.template, self.config, spec, name="envfarm-template", image=spec.image, command=["sh", "-c", "true"],
            labels={labels.FARM: self.config.farm}, annotations={}, deadline=None, egress=self.egress,
        )  # fmt: skip
        try:
            await self.api.request("POST", self.path, query={"dryRun": "All", "fieldValidation": "Strict"}, body=body)
        except ApiRefused as error:
            if "exceeded quota" in str(error) or error.reason == "AlreadyExists":
                return
            if error.status_code == 404:
                raise TemplateError(str(faults.refused(error, self.config.namespace))) from None
            raise TemplateError(f"{self.template.name}: {error}; correct that field") from None

    async def start(self, spec: SandboxSpec, *, owner: str, lease: str) -> Sandbox:
        """Start a pod. Raises SandboxStartError, BackendUnavailable, ImageError."""
        await self.open()
        await self.reaper.serve(owner)
        if self.config.prove and spec.network != "public" and lease != PROBE:
            await self.proof.check(spec.isolation, spec.network, owner)
        for left in reversed(range(TRIES)):
            try:
                return await self._start(spec, owner, lease)
            except SandboxLost as error:
                if error.cause not in _REPLACED or not left:
                    raise SandboxStartError(f"{spec.image} does not start: {error}", cause=error.cause) from None
        raise AssertionError

    async def _start(self, spec: SandboxSpec, owner: str, lease: str) -> Sandbox:
        secret = secrets.token_hex(16)
        shell = Shell(secret)
        pod, config = await self._make(spec, owner, lease, secret, shell.hello)
        sandbox = self.sandbox_class(self, pod, spec, shell, defaults(spec, config))
        try:
            if spec.network == "allowlist":
                await egress.lead_out(self, pod, spec.allowed_hosts)
                sandbox.go_out()
            await self.running(pod)
            await sandbox.attach()
            assert shell.wire is not None
            shell.wire.write(boot.program())
            await sandbox.greet(GREETING)
            await sandbox.entrypoint(config)
        except BaseException:
            await sandbox.close()
            raise
        return sandbox

    async def _make(
        self, spec: SandboxSpec, owner: str, lease: str, secret: str, hello: str
    ) -> tuple[Pod, dict[str, Any]]:
        """Create the pod. A caller that is cancelled meanwhile leaves none."""
        # A probe asks for nothing of its image but the programs in it, and need not know its registry.
        image = Image(spec.image, {}) if lease == PROBE else await self.registry.image(spec.image)
        tags = {
            labels.FARM: self.config.farm,
            labels.OWNER: labels.value(owner),
            labels.LEASE: labels.value(lease),
            labels.STATE: labels.LEASED,
            labels.KIND: self.template.kind(spec, self.egress),
            labels.NETWORK: spec.network,
        }
        kept = {key: image.config[key] for key in ("User", "WorkingDir") if image.config.get(key)}
        annotations = {
            labels.OWNER: owner,
            labels.LEASE: lease,
            labels.SECRET: secret,
            labels.SPEC: spec.model_dump_json(),
            labels.IMAGE: orjson.dumps(kept).decode(),
        }
        body = manifest(
            self.template,
            self.config,
            spec,
            name=f"{_slug(owner)}-{secrets.token_hex(6)}",
            image=image.reference,
            command=boot.command(hello),
            labels=tags,
            annotations=annotations,
            deadline=None if lease == WARM_LEASE else self.config.deadline_seconds,
            egress=self.egress,
        )
        creation = asyncio.ensure_future(self.create(body))
        try:
            return await asyncio.shield(creation), image.config
        except asyncio.CancelledError:
            with contextlib.suppress(SandboxError):
                await self.remove(await creation)  # the cluster makes it all the same
            raise

    async def create(self, body: dict[str, Any]) -> Pod:
        """Make a pod of a name that nobody else would give. Raises SandboxStartError, BackendUnavailable."""
        try:
            return self.pods.put(await self.api.request("POST", self.path, body=body))
        except ApiRefused as error:
            if error.reason != "AlreadyExists":
                raise faults.refused(error, self.config.namespace) from None
        # The name is ours alone: a first try arrived, and its answer was lost.
        return self.pods.put(await self.api.request("GET", f"{self.path}/{body['metadata']['name']}"))

    async def running(self, pod: Pod) -> Pod:
        """Wait for the watch's word that it runs. Raises ImageError, SandboxStartError, SandboxLost."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.config.start_seconds
        while True:
            try:
                await self.pods.until(
                    pod.name, faults.scheduled, min(self.config.unschedulable_seconds, until - loop.time())
                )
                break
            except TimeoutError:
                error = faults.unschedulable(self.pods.get(pod.name))
                if error is not None or loop.time() >= until:
                    raise error or faults.slow(self.pods.get(pod.name), self.config.start_seconds) from None
        try:
            return await self.pods.until(pod.name, faults.started, until - loop.time())
        except TimeoutError:
            raise faults.slow(self.pods.get(pod.name), self.config.start_seconds) from None

    async def place(self) -> str | None:
        """The cluster, by its address, and the part of it that is the farm's. Raises BackendUnavailable."""
        await self.api.connect()
        return f"kubernetes {self.api.host} {self.config.namespace} {self.config.farm}"

    async def take(self, spec: SandboxSpec, *, owner: str, lease: str) -> Sandbox | None:
        """A warm pod that this process does not hold, if there is one. Raises BackendUnavailable.

        For a pool it is one that this server left when it was killed; for a lease any server's, alive or dead.
        """
        await self.open()
        kind, mine = self.template.kind(spec, self.egress), labels.value(owner)
        pods = self.pods.indexed(f"{kind} {mine}") if lease == WARM_LEASE else self.pods.indexed(kind)
        pods = [pod for pod in pods if pod.running]
        for pod in random.sample(pods, min(len(pods), _CANDIDATES)):
            if self.pods.heard(pod.name):  # another start was quicker
                continue
            await self.reaper.serve(owner)
            claimed = pod if lease == WARM_LEASE else await self.claims.claim(pod, owner=owner, lease=lease)
            if claimed is None:
                continue
            try:
                return await self._attach(claimed)
            except SandboxLost:
                await self.remove(claimed)
        return None

    async def offer(self, sandbox: Sandbox) -> None:
        """Let the farm's other servers claim a prepared sandbox while it waits. Raises BackendUnavailable."""
        assert isinstance(sandbox, KubernetesSandbox)
        pod = await self.claims.offer(sandbox.pod)
        if pod is not None:
            sandbox.pod = pod

    async def claim(self, sandbox: Sandbox, *, owner: str, lease: str) -> bool:
        """Take a sandbox for a lease; False when another server was quicker. Raises BackendUnavailable."""
        assert isinstance(sandbox, KubernetesSandbox)
        await self.reaper.serve(owner)
        with sandbox.changing_hands(owner) as pod:
            claimed = await self.claims.claim(pod, owner=owner, lease=lease)
            if claimed is not None:
                sandbox.pod = claimed
        return claimed is not None

    async def attach(self, sandbox_id: str) -> Sandbox:
        """Take back a running pod, with its sessions and its running command. Raises SandboxLost."""
        try:
            await self.open()
            pod = self.pods.get(sandbox_id) or await self._look_up(sandbox_id)
            return await self._attach(pod)
        except BackendUnavailable as error:
            raise SandboxLost(f"the cluster is gone: {error}", cause="engine") from None

    async def _look_up(self, name: str) -> Pod:
        """A pod that the watch has not shown yet. Raises SandboxLost."""
        try:
            raw = await self.api.request("GET", f"{self.path}/{name}")
        except ApiRefused as error:
            if error.status_code != 404:
                raise SandboxLost(f"{name} cannot be taken back: {error}", cause="stream") from None
            raise SandboxLost("the pod is gone: somebody removed it", cause="removed") from None
        if raw["metadata"].get("labels", {}).get(labels.FARM) != self.config.farm:
            raise SandboxLost(f"pod {name} is none of the farm's", cause="removed")
        return self.pods.put(raw)

    async def _attach(self, pod: Pod) -> Sandbox:
        if (error := faults.lost(pod)) is not None:
            raise error
        try:
            spec = SandboxSpec.model_validate_json(pod.annotations[labels.SPEC])
            config = orjson.loads(pod.annotations[labels.IMAGE])
            if spec.network == "allowlist":
                await self._proxy(pod)
            sandbox = self.sandbox_class(self, pod, spec, Shell(pod.annotations[labels.SECRET]), defaults(spec, config))
            if spec.network == "allowlist":
                sandbox.go_out()
            await sandbox.take_back()
        except (SandboxLost, BackendUnavailable):
            raise
        except (SandboxError, KeyError, ValueError) as problem:  # a broken annotation among them
            raise SandboxLost(f"{pod.name} cannot be taken back: {problem!r}", cause="stream") from None
        return sandbox

    async def _proxy(self, pod: Pod) -> None:
        """See that a pod has its way out, which the watch may not have shown yet. Raises SandboxLost."""
        name = egress.name(pod.name)
        try:
            error = faults.stranded(self.pods.get(name) or await self._look_up(name))
        except SandboxLost:
            error = faults.stranded(None)
        if error is not None:
            raise error

    async def find(self, owner: str) -> list[SandboxInfo]:
        """Every pod of that owner, running or not."""
        await self.open()
        return [
            SandboxInfo(
                id=pod.name,
                owner=owner,
                lease=pod.annotations.get(labels.LEASE, ""),
                running=pod.running,
                created=pod.created,
                warm=pod.warm,
            )
            for pod in self.pods
            if pod.labels.get(labels.OWNER) == labels.value(owner)
        ]

    async def reap(self, owner: str, *, keep: Collection[str]) -> list[str]:
        """Remove the owner's pods that are not in `keep`."""
        doomed = [one.id for one in await self.find(owner) if one.id not in keep]
        pods = [pod for name in doomed if (pod := self.pods.get(name)) is not None]
        await asyncio.gather(*(self.remove(pod) for pod in pods))
        return doomed

    async def remove(self, pod: Pod) -> None:
        """Remove a pod of ours; one that waited warm only while it still is ours. Raises BackendUnavailable."""
        owner = pod.labels[labels.OWNER]
        while not await remove(self.api, self.pods, self.config.namespace, pod, exactly=pod.warm):
            try:
                now = await self._look_up(pod.name)
            except SandboxLost:
                return
            if now.uid != pod.uid or now.labels.get(labels.OWNER) != owner:
                return
            pod = now

    async def close(self) -> None:
        """Let go of the cluster; pods stay."""
        async with self._opening:
            self.opened = False
            await self.proof.close()
            await self.reaper.close()
            await self.pods.close()
            await self.api.close()


def _offered(pod: Pod) -> str | None:
    """Under which key a pod is to be found: those that wait warm, by what they are and whose."""
    return f"{pod.labels.get(labels.KIND)} {pod.labels.get(labels.OWNER)}" if pod.warm else None


def _slug(owner: str) -> str:
    """The owner's name as far as it can begin a pod's."""
    return re.sub(r"[^a-z0-9]+", "-", owner.lower()).strip("-")[:30].rstrip("-") or "envfarm"
