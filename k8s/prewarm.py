"""Brings images onto every node before a sandbox needs them: a DaemonSet whose pods do nothing but have them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from envfarm.k8s.client import ApiRefused, ClusterApi
from envfarm.k8s.pod import Template
from envfarm.toolbox.errors import ImageError

LABEL = "envfarm.io/prewarm"
IMAGES_OF_A_POD = 20
"""A pod's status, which names every container, must stay small enough for one object."""
_LOOK = 1.0
_DONE = "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"
_RESOURCES = {"requests": {"cpu": "1m", "memory": "4Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}


@dataclass(slots=True)
class Nodes:
    """Where the images are: for each, the nodes that have it, and why others do not have it yet."""

    wanted: int = 0  # nodes
    have: dict[str, set[str]] = field(default_factory=dict)
    why: dict[str, dict[str, str]] = field(default_factory=dict)  # image to node to what the kubelet says
    waiting: dict[str, str] = field(default_factory=dict)  # node, or pod, to why nothing is pulled there

    def missing(self) -> list[str]:
        """The images that not every node has."""
        return [image for image, nodes in self.have.items() if len(nodes) < self.wanted]


class Prewarm:
    """Pulls images onto every node that sandboxes may run on, as the template's selector and tolerations say."""

    def __init__(self, api: ClusterApi, template: Template, images: Sequence[str]) -> None:
        if not images:
            raise ImageError("there are no images to pull: push some with `envfarm tasks push REGISTRY`")
        self.api = api
        self.images = sorted(set(images))
        self._template = template
        self._sets = f"/apis/apps/v1/namespaces/{api.config.namespace}/daemonsets"
        self._pods = f"/api/v1/namespaces/{api.config.namespace}/pods"
        self._name = "envfarm-prewarm-" + hashlib.sha256("\n".join(self.images).encode()).hexdigest()[:8]

    async def run(self, timeout: float) -> AsyncIterator[Nodes]:
        """How far it is, each second, until every node has every image or `timeout` seconds went by.

        What it made goes at its end. Raises ApiRefused, BackendUnavailable.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        async with self._made():
            while True:
                found = await self._look()
                yield found
                if (found.wanted and not found.missing()) or loop.time() > until:
                    return
                await asyncio.sleep(_LOOK)

    @asynccontextmanager
    async def _made(self) -> AsyncIterator[None]:
        batches = [self.images[at : at + IMAGES_OF_A_POD] for at in range(0, len(self.images), IMAGES_OF_A_POD)]
        sets = {f"{self._name}-{number}": batch for number, batch in enumerate(batches)}
        try:
            for name, batch in sets.items():
                try:
                    await self.api.request("POST", self._sets, body=self._set(name, batch))
                except ApiRefused as error:
                    if error.reason != "AlreadyExists":  # of a run that was killed
                        raise
            yield
        finally:
            for name in sets:
                try:
                    await self.api.request("DELETE", f"{self._sets}/{name}")
                except ApiRefused as error:
                    if error.status_code != 404:
                        raise

    def _set(self, name: str, images: Sequence[str]) -> dict[str, Any]:
        labels = {LABEL: name}
        containers = [
            {
                "name": f"image-{number}",
                "image": image,
                "command": ["sh", "-c", _DONE],
                "resources": _RESOURCES,
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
            for number, image in enumerate(images)
        ]
        return {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "selector": {"matchLabels": labels},
                "updateStrategy": {"rollingUpdate": {"maxUnavailable": "100%"}},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": self._template.beside()
                    | {
                        "automountServiceAccountToken": False,
                        "enableServiceLinks": False,
                        "terminationGracePeriodSeconds": 0,
                        "containers": containers,
                    },
                },
            },
        }

    async def _look(self) -> Nodes:
        found = Nodes(have={image: set() for image in self.images})
        query = {"labelSelector": LABEL}
        for one in (await self.api.request("GET", self._sets, query=query))["items"]:
            if one["metadata"]["name"].startswith(self._name):
                found.wanted = max(found.wanted, int(one.get("status", {}).get("desiredNumberScheduled", 0)))
        for pod in (await self.api.request("GET", self._pods, query=query))["items"]:
            if pod["metadata"]["labels"][LABEL].startswith(self._name):
                _note(pod, found)
        return found


def _note(pod: dict[str, Any], found: Nodes) -> None:
    """What one pod says of its node."""
    node = pod["spec"].get("nodeName")
    statuses = pod.get("status", {}).get("containerStatuses", [])
    if node is None or not statuses:
        for condition in pod.get("status", {}).get("conditions", []):
            if condition["status"] == "False" and condition.get("message"):
                found.waiting[node or pod["metadata"]["name"]] = condition["message"]
        return
    image_of = {one["name"]: one["image"] for one in pod["spec"]["containers"]}
    for status in statuses:
        image = image_of[status["name"]]
        if status.get("imageID"):  # however its command fares: the image is there
            found.have[image].add(node)
            continue
        waits = status.get("state", {}).get("waiting", {})
        if waits.get("message"):
            found.why.setdefault(image, {})[node] = f"{waits['reason']}: {waits['message']}"
