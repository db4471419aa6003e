"""What tells the farm's servers that one of them lives, and removes the pods of those that do not."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from datetime import UTC, datetime
from typing import Any

from envfarm.k8s import labels
from envfarm.k8s.client import MERGE_PATCH, ApiRefused, ClusterApi
from envfarm.k8s.config import KubernetesConfig
from envfarm.k8s.pods import Pod, Pods
from envfarm.toolbox.errors import SandboxError

log = logging.getLogger(__name__)

_BEATS = 6  # times that a server says so before its silence would count


class Reaper:
    """A Lease object for each owner that this process serves, and a look at everybody's now and then.

    A pod goes when its owner's Lease has not changed for `orphan_seconds` by this process's own clock (or when there is
    none for so long), or when it ended that long ago. Nothing without the farm's label, outside its namespace or of a
    living owner is ever touched.
    """

    def __init__(self, api: ClusterApi, pods: Pods, config: KubernetesConfig) -> None:
        self._api = api
        self._pods = pods
        self._config = config
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{config.namespace}/leases"
        self._owners: set[str] = set()
        self._seen: dict[str, tuple[str | None, float]] = {}  # an owner's last sign of life, and since when we know it
        self._left: dict[str, float] = {}  # by uid, since when a warm pod of ours is in no pool
        self._ended: dict[str, float] = {}  # by uid, since when we know that it ended
        self._task: asyncio.Task[None] | None = None
        self.reaped = 0

    async def serve(self, owner: str) -> None:
        """Say from now on that an owner lives. Raises BackendUnavailable, ApiRefused."""
        if owner in self._owners:
            return
        self._owners.add(owner)
        try:
            await self._renew(owner)
        except BaseException:
            self._owners.discard(owner)
            raise
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="reaper")

    async def close(self) -> None:
        """Stop; the Lease of an owner stays while it has pods, so that they are kept for its return."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        left = {pod.labels.get(labels.OWNER) for pod in self._pods}
        for owner in self._owners:
            if labels.value(owner) not in left:
                try:
                    await self._api.request("DELETE", f"{self._leases}/{self._name(labels.value(owner))}", patience=1)
                except SandboxError as error:
                    log.info("the Lease of %s stays: %s", owner, error)
        self._owners.clear()

    async def sweep(self) -> list[str]:
        """One look: remove what is nobody's; returns the names of the pods. Raises BackendUnavailable, ApiRefused."""
        now = asyncio.get_running_loop().time()
        await self._look(now)
        doomed = [pod for pod in self._pods if self._is_doomed(pod, now)]
        removed = []
        for pod in doomed:
            if await remove(self._api, self._pods, self._config.namespace, pod, exactly=True):
                log.warning(
                    "removed pod %s: its owner %s is gone, or it ended long ago", pod.name, pod.labels[labels.OWNER]
                )
                removed.append(pod.name)
        self.reaped += len(removed)
        return removed

    def _is_doomed(self, pod: Pod, now: float) -> bool:
        owner = pod.labels.get(labels.OWNER)
        if owner is None or pod.labels.get(labels.FARM) != self._config.farm:
            return False  # none of ours: a selector or an operator is mistaken
        if pod.phase in ("Failed", "Succeeded"):
            return now - self._ended.setdefault(pod.uid, now) > self._config.orphan_seconds
        if owner in {labels.value(one) for one in self._owners}:
            return self._is_unwanted(pod, now)
        seen = self._seen.setdefault(owner, (None, now))
        return now - seen[1] > self._config.orphan_seconds

    def _is_unwanted(self, pod: Pod, now: float) -> bool:
        """Whether it waits warm since this server was killed, and no pool of its new life has taken it back."""
        if not pod.warm or self._pods.heard(pod.name):
            self._left.pop(pod.uid, None)
            return False
        return now - self._left.setdefault(pod.uid, now) > self._config.orphan_seconds

    async def _look(self, now: float) -> None:
        """Note which Leases changed; one whose owner is long silent and has no pods goes."""
        query = {"labelSelector": f"{labels.FARM}={self._config.farm}"}
        items = (await self._api.request("GET", self._leases, query=query)).get("items", ())
        there = {pod.labels.get(labels.OWNER) for pod in self._pods}
        signs = {one["metadata"]["labels"].get(labels.OWNER, ""): one for one in items}
        for owner, one in signs.items():
            sign = f"{one['metadata']['uid']} {one['spec'].get('renewTime')}"
            known = self._seen.get(owner)
            if known is None or known[0] != sign:
                self._seen[owner] = sign, now
            elif now - known[1] > self._config.orphan_seconds and owner not in there:
                await self._forget(one)
        for owner in set(self._seen) - set(signs):
            if self._seen[owner][0] is not None:
                self._seen[owner] = None, now
            elif owner not in there:
                del self._seen[owner]
        alive = {pod.uid for pod in self._pods}
        for since in (self._ended, self._left):
            for uid in since.keys() - alive:
                del since[uid]

    async def _forget(self, lease: dict[str, Any]) -> None:
        about = lease["metadata"]
        guard = {"uid": about["uid"], "resourceVersion": about["resourceVersion"]}
        try:
            await self._api.request("DELETE", f"{self._leases}/{about['name']}", body={"preconditions": guard})
        except ApiRefused:
            return  # it was renewed meanwhile, or another server was quicker

    async def _run(self) -> None:
        pause = self._config.orphan_seconds / _BEATS
        while True:
            await asyncio.sleep(pause * random.uniform(0.75, 1.0))
            try:
                for owner in list(self._owners):
                    await self._renew(owner)
                await self.sweep()
            except SandboxError as error:
                log.warning("cannot look after the cluster's pods, trying again: %s", error)

    async def _renew(self, owner: str) -> None:
        name = self._name(labels.value(owner))
        spec = {
            "holderIdentity": owner,
            "leaseDurationSeconds": max(1, int(self._config.orphan_seconds)),
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        patch = {"spec": spec}
        try:
            await self._api.request("PATCH", f"{self._leases}/{name}", body=patch, content_type=MERGE_PATCH)
        except ApiRefused as error:
            if error.status_code != 404:
                raise
            tags = {labels.FARM: self._config.farm, labels.OWNER: labels.value(owner)}
            about = {"name": name, "labels": tags}
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": about, "spec": spec}
            await self._api.request("POST", self._leases, body=body)

    def _name(self, owner: str) -> str:
        return "envfarm-" + hashlib.blake2b(f"{self._config.farm} {owner}".encode(), digest_size=12).hexdigest()


async def remove(api: ClusterApi, pods: Pods, namespace: str, pod: Pod, *, exactly: bool = False) -> bool:
    """Remove this very pod, `exactly` only if nobody changed it since it was seen; whether it is gone now.

    Raises BackendUnavailable, ApiRefused.
    """
    guard = {"uid": pod.uid} | ({"resourceVersion": pod.version} if exactly else {})
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": guard}
    try:
        await api.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{pod.name}", body=body)
    except ApiRefused as error:
        if error.status_code == 409 and exactly:
            return False
        if error.status_code not in (404, 409):
            raise
    pods.drop(pod.name, pod.uid)
    return True
