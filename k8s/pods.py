"""All pods of the farm, by one list and one watch: a cache that is told of every change and never polls."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import orjson

from envfarm.k8s import labels
from envfarm.k8s.client import ApiRefused, ClusterApi
from envfarm.toolbox.errors import FarmError, SandboxError

log = logging.getLogger(__name__)

_PAGE = "500"
_WATCH = 300  # seconds that one watch lasts; the server ends it
_SILENCE = 90.0  # a bookmark comes every minute
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0

T = TypeVar("T")
Listener = Callable[["Pod | None"], None]


@dataclass(frozen=True, slots=True)
class Pod:
    """What the farm keeps of one pod: ten thousand whole ones would take a gigabyte."""

    name: str
    uid: str
    version: str
    labels: dict[str, str]
    annotations: dict[str, str]
    created: float  # seconds since the epoch
    node: str
    deleting: bool
    status: dict[str, Any]

    @property
    def phase(self) -> str:
        """`Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`."""
        return str(self.status.get("phase", ""))

    @property
    def running(self) -> bool:
        """Whether its containers run."""
        return self.phase == "Running" and not self.deleting

    @property
    def warm(self) -> bool:
        """Whether it waits for its first lease, and any server of the farm may claim it."""
        return self.labels.get(labels.STATE) == labels.WARM


def decode(raw: dict[str, Any]) -> Pod:
    """A pod from the API's JSON."""
    about = raw["metadata"]
    return Pod(
        name=about["name"],
        uid=about["uid"],
        version=about["resourceVersion"],
        labels=about.get("labels") or {},
        annotations=about.get("annotations") or {},
        created=moment(about["creationTimestamp"]),
        node=raw.get("spec", {}).get("nodeName", ""),
        deleting="deletionTimestamp" in about,
        status=raw.get("status") or {},
    )


def moment(text: str) -> float:
    """Seconds since the epoch, from the API's way to write a time."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Pods:
    """The cache. `path` is that of the namespace's pods, `selector` what the farm's pods are labelled with."""

    def __init__(
        self, api: ClusterApi, path: str, selector: str, *, index: Callable[[Pod], str | None] = lambda _: None
    ) -> None:
        self._api = api
        self._path = path
        self._selector = selector
        self._index = index
        self._pods: dict[str, Pod] = {}
        self._by_key: dict[str, set[str]] = {}  # names by what `index` says of the pod, of those nobody listens to
        self._keys: dict[str, str] = {}  # and the other way round
        self._buried: dict[str, str] = {}  # uid of pods that we removed, until the watch says so too
        self._listeners: dict[str, list[Listener]] = {}
        self._version = ""
        self._task: asyncio.Task[None] | None = None
        self._sent: dict[str, tuple[str, float]] = {}  # our own changes that the watch has not shown yet
        self.lag = 0.0  # seconds from our last change to the watch's word of it
        self.lists = 0  # how often everything was read anew
        self.watching = False

    async def open(self) -> None:
        """Read all pods, then follow them in the background. Raises BackendUnavailable, ApiRefused."""
        if self._task is None:
            await self._list()
            self._task = asyncio.create_task(self._follow(), name="pods")

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self._version = ""

    def __iter__(self) -> Iterator[Pod]:
        return iter(list(self._pods.values()))

    def __len__(self) -> int:
        return len(self._pods)

    def get(self, name: str) -> Pod | None:
        """A pod as it was last seen."""
        return self._pods.get(name)

    def indexed(self, prefix: str) -> list[Pod]:
        """The pods of which `index` says something that begins so, and that nobody here listens to."""
        keys = [key for key in self._by_key if key.startswith(prefix)]
        return [self._pods[name] for key in keys for name in self._by_key[key]]

    def heard(self, name: str) -> bool:
        """Whether somebody listens to a pod."""
        return name in self._listeners

    def put(self, raw: dict[str, Any]) -> Pod:
        """Take the API's answer to a change of ours, which is newer than what the watch has shown."""
        pod = decode(raw)
        known = self._pods.get(pod.name)
        if known is None or known.uid != pod.uid or _older(known.version, pod.version):  # else the watch was quicker
            self._sent[pod.name] = pod.version, _now()
        self._set(pod)
        return pod

    def drop(self, name: str, uid: str) -> None:
        """Forget a pod that we removed."""
        known = self._pods.get(name)
        if known is not None and known.uid == uid:
            self._buried[uid] = name
            self._unset(name)

    def listen(self, name: str, listener: Listener) -> Callable[[], None]:
        """Call it with the pod at every change, with None when it is gone; returns what ends that."""
        self._listeners.setdefault(name, []).append(listener)
        self._reindex(name)

        def end() -> None:
            held = self._listeners.get(name, [])
            if listener in held:
                held.remove(listener)
            if not held:
                self._listeners.pop(name, None)
                self._reindex(name)

        return end

    async def until(self, name: str, judge: Callable[[Pod | None], T | None], timeout: float) -> T:
        """Wait, at most `timeout` seconds, until `judge` has an answer for a pod. Raises TimeoutError, SandboxError."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def look(pod: Pod | None) -> None:
            if answer.done():
                return
            try:
                verdict = judge(pod)
            except FarmError as error:
                answer.set_exception(error)
                return
            if verdict is not None:
                answer.set_result(verdict)

        end = self.listen(name, look)
        try:
            look(self._pods.get(name))
            async with asyncio.timeout(timeout):
                return await answer
        finally:
            end()
            if answer.done() and not answer.cancelled():
                answer.exception()  # the time-out may have been quicker

    # the list and the watch

    async def _list(self) -> None:
        """Read everything, in pages."""
        found: dict[str, Pod] = {}
        query = {"labelSelector": self._selector, "limit": _PAGE}
        while True:
            page = await self._api.request("GET", self._path, query=query)
            found.update((pod.name, pod) for pod in map(decode, page.get("items", ())))
            more = page["metadata"].get("continue")
            if not more:
                break
            query["continue"] = more
        self.lists += 1
        self._buried.clear()
        self._sent.clear()
        self._version = page["metadata"]["resourceVersion"]
        for name in set(self._pods) - set(found):
            if not _older(self._version, self._pods[name].version):  # else it was made after the list
                self._unset(name)
        for pod in found.values():
            self._set(pod)

    async def _follow(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                if not self._version:
                    await self._list()
                async with aclosing(self._api.lines(self._path, self._query(), silence=_SILENCE)) as lines:
                    async for line in lines:
                        self.watching, pause = True, _FIRST_PAUSE
                        self._take(orjson.loads(line))
            except ApiRefused as error:
                if error.status_code == 410:  # what we saw last is so old that the server has forgotten it
                    self._version = ""
                    continue
                log.warning("cannot watch the pods, trying again: %s", error)
            except SandboxError as error:
                log.warning("cannot watch the pods, trying again: %s", error)
            except ValueError:  # half a line: the connection was cut
                pass
            else:
                continue
            self.watching = False
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _query(self) -> dict[str, str]:
        return {
            "labelSelector": self._selector,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(int(_WATCH * random.uniform(1, 2))),
        }

    def _take(self, event: dict[str, Any]) -> None:
        kind, raw = event["type"], event["object"]
        if kind == "ERROR":
            raise ApiRefused(str(raw.get("message")), status=int(raw.get("code", 500)), reason=str(raw.get("reason")))
        self._version = raw["metadata"]["resourceVersion"]
        if kind == "BOOKMARK":
            return
        pod = decode(raw)
        sent = self._sent.get(pod.name)
        if sent is not None and not _older(pod.version, sent[0]):
            self.lag = _now() - sent[1]
            del self._sent[pod.name]
        if kind == "DELETED":
            self._buried.pop(pod.uid, None)
            self._sent.pop(pod.name, None)
            known = self._pods.get(pod.name)
            if known is not None and known.uid == pod.uid:
                self._set(pod)  # its last state says why it went
                self._unset(pod.name)
        elif pod.uid not in self._buried:
            self._set(pod)

    def _set(self, pod: Pod) -> None:
        known = self._pods.get(pod.name)
        if known is not None and known.uid == pod.uid and _older(pod.version, known.version):
            return
        self._pods[pod.name] = pod
        self._reindex(pod.name)
        self._tell(pod.name, pod)

    def _unset(self, name: str) -> None:
        if self._pods.pop(name, None) is not None:
            self._reindex(name)
            self._tell(name, None)

    def _reindex(self, name: str) -> None:
        pod, old = self._pods.get(name), self._keys.pop(name, None)
        if old is not None:
            self._by_key[old].discard(name)
            if not self._by_key[old]:
                del self._by_key[old]
        if pod is not None and not self.heard(name) and (key := self._index(pod)) is not None:
            self._keys[name] = key
            self._by_key.setdefault(key, set()).add(name)

    def _tell(self, name: str, pod: Pod | None) -> None:
        for listener in list(self._listeners.get(name, ())):
            listener(pod)


def _older(one: str, other: str) -> bool:
    """Whether one version of an object came before another; every server in use counts them."""
    return one.isdigit() and other.isdigit() and int(one) < int(other)


def _now() -> float:
    return asyncio.get_running_loop().time()
