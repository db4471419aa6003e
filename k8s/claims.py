"""Who has a pod: one compare-and-swap on the object, so that two servers never get the same one."""

from __future__ import annotations

import time
from typing import Any

from envfarm.k8s import labels
from envfarm.k8s.client import JSON_PATCH, ApiRefused, ClusterApi
from envfarm.k8s.pods import Pod, Pods, moment
from envfarm.toolbox.sandboxes.base import WARM

_NOT_AS_TESTED = frozenset({404, 409, 422})


class Claims:
    """Changes of hands in one namespace.

    A change is a JSON patch that first tests what the pod is and whose; the API server applies it to one version of the
    object and stores it only over that one (its own compare-and-swap on `resourceVersion`), else it tests again. So
    what a kubelet writes meanwhile into the pod's status costs no second try, and another server's claim fails ours.
    """

    def __init__(self, api: ClusterApi, pods: Pods, path: str, deadline: int) -> None:
        self._api = api
        self._pods = pods
        self._path = path
        self._deadline = deadline

    async def offer(self, pod: Pod) -> Pod | None:
        """Let every server of the farm have it, as it is ready; None when it is not as it was any more."""
        return await self._swap(
            pod,
            [_replace("labels", labels.STATE, labels.WARM)],
            {labels.STATE: labels.WARM, labels.OWNER: pod.labels[labels.OWNER]},
        )

    async def claim(self, pod: Pod, *, owner: str, lease: str) -> Pod | None:
        """Take it, with a deadline from now on; None when somebody else did, or it is gone."""
        changes = [
            _replace("labels", labels.STATE, labels.LEASED),
            _replace("labels", labels.OWNER, labels.value(owner)),
            _replace("labels", labels.LEASE, labels.value(lease)),
            _replace("annotations", labels.OWNER, owner),
            _replace("annotations", labels.LEASE, lease),
        ]
        if (
            pod.annotations.get(labels.LEASE) == WARM
        ):  # it had no deadline while it waited, and one can only be shortened
            age = max(0, int(time.time() - moment(pod.status.get("startTime") or _stamp(pod.created))))
            changes.append({"op": "add", "path": "/spec/activeDeadlineSeconds", "value": age + self._deadline})
        wanted = {labels.STATE: labels.LEASED, labels.OWNER: labels.value(owner), labels.LEASE: labels.value(lease)}
        return await self._swap(pod, changes, wanted)

    async def _swap(self, pod: Pod, changes: list[dict[str, Any]], wanted: dict[str, str]) -> Pod | None:
        tests = [{"op": "test", "path": "/metadata/uid", "value": pod.uid}] + [
            {"op": "test", "path": _path("labels", key), "value": pod.labels[key]}
            for key in (labels.STATE, labels.OWNER, labels.LEASE)
        ]
        path = f"{self._path}/{pod.name}"
        try:
            raw = await self._api.request("PATCH", path, body=[*tests, *changes], content_type=JSON_PATCH)
        except ApiRefused as error:
            if error.status_code not in _NOT_AS_TESTED:
                raise
            return await self._was_ours(pod, wanted)
        return self._pods.put(raw)

    async def _was_ours(self, pod: Pod, wanted: dict[str, str]) -> Pod | None:
        """The pod, if it is as we wanted all the same: a first try's answer was lost, and the second one failed."""
        try:
            raw = await self._api.request("GET", f"{self._path}/{pod.name}")
        except ApiRefused as error:
            if error.status_code != 404:
                raise
            self._pods.drop(pod.name, pod.uid)
            return None
        now = self._pods.put(raw)
        same = now.uid == pod.uid and all(now.labels.get(key) == value for key, value in wanted.items())
        return now if same and any(pod.labels[key] != value for key, value in wanted.items()) else None


def _path(where: str, key: str) -> str:
    return f"/metadata/{where}/{key.replace('~', '~0').replace('/', '~1')}"


def _replace(where: str, key: str, value: str) -> dict[str, Any]:
    return {"op": "add", "path": _path(where, key), "value": value}  # `add` replaces what is there


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
