"""One pod whose main process is the held shell."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from envfarm.k8s import faults, labels
from envfarm.k8s.attach import attach
from envfarm.k8s.pods import Pod
from envfarm.toolbox.errors import SandboxLost
from envfarm.toolbox.sandboxes.base import SandboxSpec
from envfarm.toolbox.sandboxes.held import Defaults, HeldSandbox
from envfarm.toolbox.sandboxes.shell import Shell

if TYPE_CHECKING:
    from envfarm.k8s.backend import KubernetesBackend

_NOTICE = 10.0
"""Seconds in which the cluster says why a container's stream ended, where the container did."""


class KubernetesSandbox(HeldSandbox):
    """A pod, and the stream to it."""

    def __init__(self, backend: KubernetesBackend, pod: Pod, spec: SandboxSpec, shell: Shell, defaults: Defaults):
        super().__init__(pod.name, spec, shell, defaults)
        self._backend = backend
        self.pod = pod  # as it was when it last changed hands
        self._owners = {pod.labels[labels.OWNER]}
        self._detached = False
        self._taken = False  # by another server of the farm
        self._cause: asyncio.Task[None] | None = None
        self._unlisten = backend.pods.listen(pod.name, self._seen)

    async def attach(self) -> None:
        """Take hold of the stream. Raises BackendUnavailable, SandboxLost."""
        api = await self._backend.api.connect()
        namespace = self._backend.config.namespace
        self.shell.wire = await attach(api, namespace, self._id, faults.CONTAINER, self.shell.feed, self._closed)

    @contextmanager
    def changing_hands(self, owner: str) -> Iterator[Pod]:
        """The pod, for a block in which it may become another owner's that is ours too."""
        self._owners.add(labels.value(owner))
        try:
            yield self.pod
        finally:
            self._owners = {self.pod.labels[labels.OWNER]}

    def _seen(self, pod: Pod | None) -> None:
        """The cluster has news of the pod."""
        if pod is not None and pod.uid == self.pod.uid:
            if pod.labels.get(labels.OWNER) not in self._owners:
                self._taken = True
                self.lose(SandboxLost("another server of the farm took the sandbox while it was warm", cause="claimed"))
                self._let_go()
                return
            error = faults.lost(pod)
        else:
            error = faults.lost(None)
        if error is not None:
            self.lose(error)

    def _closed(self) -> None:
        if not self._detached and not self.shell.is_lost:
            self._cause = asyncio.get_running_loop().create_task(self._find_cause())

    async def _find_cause(self) -> None:
        """Wait for the cluster's word of why the stream ended: it comes a moment later."""
        try:
            error = await self._backend.pods.until(self._id, faults.lost, _NOTICE)
        except TimeoutError:
            error = SandboxLost("the stream to the sandbox broke", cause="stream")
        self.lose(error)

    def _let_go(self) -> None:
        self._detached = True
        self._unlisten()
        if self.shell.wire is not None:
            self.shell.wire.close()
        if self._cause is not None:
            self._cause.cancel()

    async def detach(self) -> None:
        """Let go of the stream and leave the pod running."""
        self.lose(SandboxLost("the sandbox was let go", cause="stream"))
        self._let_go()

    async def close(self) -> None:
        """Remove the pod, unless another server took it. Raises BackendUnavailable: then it may be there yet."""
        await self.detach()
        if not self._taken:
            await self._backend.remove(self.pod, warm=self.pod.labels.get(labels.STATE) == labels.WARM)
