"""Pods that only an API server knows: kwok plays their lives, and a wire answers for their processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from envfarm.k8s.backend import KubernetesBackend
from envfarm.k8s.config import KubernetesConfig
from envfarm.k8s.registry import Image, Registry
from envfarm.k8s.sandbox import KubernetesSandbox
from envfarm.toolbox.sandboxes.supervisor import HEADER, Wire

TEMPLATE = """\
apiVersion: v1
kind: Pod
metadata: {}
spec:
  nodeSelector: {type: kwok}
  tolerations: [{key: kwok.x-k8s.io/node, operator: Exists}]
  automountServiceAccountToken: false
  enableServiceLinks: false
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
    - name: sandbox
      stdin: true
      securityContext:
        runAsUser: 0
        allowPrivilegeEscalation: false
        capabilities: {drop: [ALL]}
"""
PODS_OF_A_NODE = 110


class PlayedWire:
    """Answers as the supervisor of a bash sandbox would in which every command succeeds and prints nothing."""

    def __init__(self, hello: str, feed: Callable[[int, bytes], None]) -> None:
        self._hello = hello
        self._feed = feed
        self._sent = b""
        self._loop = asyncio.get_running_loop()
        self._sessions: list[str] = []

    def write(self, data: bytes) -> None:
        """Take frames, and answer them at the loop's next turn."""
        self._sent += data
        self._loop.call_soon(self._serve)

    async def drain(self) -> None:
        """Nothing is ever queued."""

    def pause(self) -> None:
        """Nothing comes by itself."""

    def resume(self) -> None:
        """Nothing was held back."""

    def close(self) -> None:
        """Nothing is held."""

    def _serve(self) -> None:
        while self._sent:
            if self._sent[:1].isdigit():  # the program of a new pod
                size, _, _ = self._sent.partition(b"\n")
                self._sent = self._sent[len(size) + 1 + int(size) :]
                self._say(self._hello, "ready:bash:1")
                continue
            head = self._sent[:HEADER].split()
            if len(head) != 7 or not head[0].startswith(b"@"):  # a line between frames
                self._sent = self._sent.partition(b"\n")[2]
                continue
            length = int(head[3])
            payload = self._sent[HEADER : HEADER + length]
            self._sent = self._sent[HEADER + length :]
            self._answer(head[1].decode(), head[2].decode(), head[5].decode(), payload)

    def _answer(self, op: str, token: str, slot: str, payload: bytes) -> None:
        match op:
            case "hello":
                self._say(token, "h:bash:-:-" + "".join(f" {label}" for label in self._sessions))
            case "open":
                label, _, _ = payload.partition(b"\n")
                self._sessions.append(f"{slot}:{token}:{label.decode()}")
                self._say(token, "r:2")
            case "run" | "send":
                self._say(token, "b")
                self._say(token, "e:0")
            case "look":
                self._say(token, f"a:{token}")
            case "list":
                self._say(token, "l:")
            case _:
                self._say(token, "k:0")

    def _say(self, token: str, text: str) -> None:
        marker = f"\x1eef:{token}:{text}\n".encode()
        self._feed(1, marker)
        self._feed(2, marker)


class PlayedSandbox(KubernetesSandbox):
    """A pod without a process."""

    async def stream(self) -> Wire:
        """A wire that answers for it."""
        return PlayedWire(self.shell.hello, self.shell.feed)

    async def history(self) -> dict[int, bytes]:
        """Nothing was logged."""
        return {1: b"", 2: b""}


class _NoRegistry(Registry):
    """Knows every image, since nobody pulls one."""

    async def image(self, reference: str) -> Image:
        """The image as it is named."""
        return Image(reference, {})


class PlayedBackend(KubernetesBackend):
    """The Kubernetes back end as it is, but for what only a real pod has."""

    sandbox_class = PlayedSandbox

    def __init__(self, config: KubernetesConfig) -> None:
        super().__init__(config)
        self.registry = _NoRegistry(config)


def config(folder: Path, namespace: str) -> KubernetesConfig:
    """Settings that put no limit of the farm's own before the cluster's."""
    template = folder / "played.yaml"
    template.write_text(TEMPLATE)
    return KubernetesConfig(namespace=namespace, template=template, qps=2000, burst=2000, start_seconds=1800)


def node(number: int) -> dict[str, Any]:
    """A node for kwok to play."""
    size = {"cpu": "1000", "memory": "4Ti", "pods": str(PODS_OF_A_NODE)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": f"played-{number}",
            "labels": {"type": "kwok"},
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]},
        "status": {"allocatable": size, "capacity": size},
    }
