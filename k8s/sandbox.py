"""One pod whose main process is the held shell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from envfarm.k8s import egress, faults, labels
from envfarm.k8s.attach import attach
from envfarm.k8s.log import history
from envfarm.k8s.pods import Pod
from envfarm.toolbox.errors import SandboxLost
from envfarm.toolbox.sandboxes.base import SandboxSpec
from envfarm.toolbox.sandboxes.held import Defaults, HeldSandbox
from envfarm.toolbox.sandboxes.shell import Shell
from envfarm.toolbox.sandboxes.supervisor import Wire

if TYPE_CHECKING:
    from envfarm.k8s.backend import KubernetesBackend

_NOTICE = 5.0
"""Seconds that the watch may need to say why a pod is gone, which the API server then knows no more."""


class KubernetesSandbox(HeldSandbox):
    """A pod, and the stream to it."""

    def __init__(self, backend: KubernetesBackend, pod: Pod, spec: SandboxSpec, shell: Shell, defaults: Defaults):
        super().__init__(pod.name, spec, shell, defaults)
        self._backend = backend
        self.pod = pod  # as it was when it last changed hands
        self.patience = backend.config.reattach_seconds
        self._owners = {pod.labels[labels.OWNER]}
        self._taken = False  # by another server of the farm
        self._unlisten = [backend.pods.listen(pod.name, self._seen)]

    async def stream(self) -> Wire:
        """A stream to the main process. Raises BackendUnavailable, SandboxLost."""
        await self._backend.open()  # for without the watch nobody would say why it broke
        api = await self._backend.api.connect()
        namespace = self._backend.config.namespace
        try:
            return await attach(api, namespace, self._id, faults.CONTAINER, self.shell.feed, self.closed)
        except SandboxLost as error:
            raise await self._why(error) from None

    async def _why(self, error: SandboxLost) -> SandboxLost:
        try:
            return await self._backend.pods.until(self._id, faults.lost, _NOTICE)
        except TimeoutError:
            return error

    async def cause(self) -> SandboxLost | None:
        """Why the pod is dead, as far as the watch has said; None while it lives."""
        return faults.lost(self._backend.pods.get(self._id))

    async def history(self) -> dict[int, bytes]:
        """What the node logged. Raises SandboxLost, BackendUnavailable."""
        api = await self._backend.api.connect()
        return await history(api, self._backend.config.namespace, self._id, faults.CONTAINER)

    def lose(self, error: SandboxLost) -> None:
        """The stream is gone."""
        if error.cause == "engine" and faults.unreachable(self._backend.pods.get(self._id)):
            error = SandboxLost(f"its node does not answer: {error}", cause="node")
        super().lose(error)

    @contextmanager
    def changing_hands(self, owner: str) -> Iterator[Pod]:
        """The pod, for a block in which it may become another owner's that is ours too."""
        self._owners.add(labels.value(owner))
        try:
            yield self.pod
        finally:
            self._owners = {self.pod.labels[labels.OWNER]}

    def _seen(self, pod: Pod | None) -> None:
        """The cache has news of the pod."""
        if pod is None or pod.uid != self.pod.uid:
            error = faults.lost(None)
        elif pod.labels.get(labels.OWNER) not in self._owners:
            self._taken = True
            error = SandboxLost("another server of the farm took the sandbox while it was warm", cause="claimed")
        else:
            error = faults.lost(pod)
        if error is not None:
            self.lose(error)
            self.let_go()

    def go_out(self) -> None:
        """Be lost with the proxy from now on."""
        name = egress.name(self._id)
        self._unlisten.append(self._backend.pods.listen(name, self._stranded))
        self._stranded(self._backend.pods.get(name))

    def _stranded(self, proxy: Pod | None) -> None:
        if (error := faults.stranded(proxy)) is not None:
            self.lose(error)
            self.let_go()

    def let_go(self) -> None:
        """Let go of the stream for good; the pod lives on."""
        while self._unlisten:
            self._unlisten.pop()()
        super().let_go()

    async def close(self) -> None:
        """Remove the pod, unless another server took it. Raises BackendUnavailable: then it may be there yet."""
        self.let_go()
        if not self._taken:
            await self._backend.remove(self.pod)
