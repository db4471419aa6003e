"""What a pod's status says of a sandbox: that it runs, what it waits for, or why it is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envfarm.k8s import labels
from envfarm.k8s.client import ApiRefused
from envfarm.k8s.pods import Pod
from envfarm.toolbox.errors import ImageError, SandboxError, SandboxLost, SandboxStartError

CONTAINER = "sandbox"
"""The container whose main process is the held shell."""
PROXY = "proxy"
"""The container of a way out."""
_NO_IMAGE = (
    "not found",
    "unknown",  # manifest unknown, name unknown
    "unauthorized",
    "denied",
    "authorization failed",
    "insufficient_scope",
    "no match for platform",
    "invalid reference",
    "couldn't parse",
)
"""What a registry or a node says of an image that it will not give, however often it is asked."""
_DISRUPTIONS = {
    "PreemptionByScheduler": ("preempted", "the scheduler gave its place to a pod of higher priority"),
    "DeletionByTaintManager": ("evicted", "its node was tainted NoExecute, or no longer answers"),
    "EvictionByEvictionAPI": ("evicted", "it was evicted, as when a node is drained"),
    "DeletionByPodGC": ("node", "its node is gone"),
    "TerminationByKubelet": ("evicted", "its node ended it"),
}
_REASONS = {
    "Evicted": ("evicted", "its node was short of a resource"),
    "DeadlineExceeded": ("deadline", "it lived longer than deadline_seconds"),
    "NodeLost": ("node", "its node no longer answers"),
    "NodeShutdown": ("node", "its node was shut down"),
    "Shutdown": ("node", "its node was shut down"),
    "Terminated": ("node", "its node was shut down"),
    "Preempting": ("preempted", "its node needed the place"),
    "NodeAffinity": ("node", "its node does not take it"),
    "UnexpectedAdmissionError": ("node", "its node does not take it"),
}
_OUT_OF = ("OutOf", "Outof")  # OutOfcpu, OutOfpods: the node had less room than the scheduler thought


def lost(pod: Pod | None) -> SandboxLost | None:
    """Why a sandbox is gone; None while it lives, or has not begun to."""
    if pod is None:
        return SandboxLost("the pod is gone: somebody removed it", cause="removed")
    for condition in _conditions(pod, "DisruptionTarget"):
        if condition.get("status") == "True" and condition.get("reason") in _DISRUPTIONS:
            return _lost(_DISRUPTIONS[condition["reason"]], condition.get("message"))
    reason = str(pod.status.get("reason", ""))
    if reason in _REASONS:
        return _lost(_REASONS[reason], pod.status.get("message"))
    if reason.startswith(_OUT_OF):
        return _lost(("node", "its node has no room for it"), pod.status.get("message"))
    if pod.deleting:
        return SandboxLost("the pod is gone: somebody removed it", cause="removed")
    ended = _container(pod).get("state", {}).get("terminated")
    if ended is not None:
        return _ended(ended)
    if pod.phase in ("Failed", "Succeeded"):
        return SandboxLost(
            f"the pod ended: {reason or pod.phase} {pod.status.get('message', '')}".strip(), cause="killed"
        )
    return None


def _lost(how: tuple[str, str], message: Any) -> SandboxLost:
    said = f" ({' '.join(str(message).split())})" if message else ""
    return SandboxLost(f"the sandbox was lost: {how[1]}{said}", cause=how[0])


def _ended(state: dict[str, Any]) -> SandboxLost:
    reason, code = state.get("reason"), state.get("exitCode")
    if reason == "OOMKilled":
        return SandboxLost("the sandbox ran out of memory", cause="oom")
    if reason == "ContainerStatusUnknown":
        return SandboxLost("the sandbox was lost: its node forgot it", cause="node")
    ours = reason in (
        "StartError",
        "ContainerCannotRun",
    )  # else the message is a file that root in the sandbox can write
    said = f": {' '.join(str(state.get('message')).split())}" if ours else ""
    return SandboxLost(f"the sandbox's main process was killed (exit code {code}{said})", cause="killed")


def scheduled(pod: Pod | None) -> bool | None:
    """True when a pod has a node, None while it has none. Raises SandboxLost."""
    if (error := lost(pod)) is not None:
        raise error
    return True if pod is not None and pod.node else None


def started(pod: Pod | None) -> Pod | None:
    """The pod when its sandbox runs, None while it does not yet. Raises ImageError, SandboxStartError, SandboxLost."""
    if (error := cut(pod) or lost(pod)) is not None:
        raise error
    assert pod is not None
    for name, reason, message in _waiting(pod):
        wrong = reason == "InvalidImageName" or reason == "ErrImageNeverPull"
        if wrong or ("ImagePull" in reason and any(text in message.lower() for text in _NO_IMAGE)):
            raise ImageError(f"there is no image {_image(pod, name)!r}, and it cannot be pulled: {message}")
        if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
            raise SandboxStartError(f"the node cannot make the sandbox: {message}")
    return pod if "running" in _container(pod).get("state", {}) and pod.running else None


def cut(pod: Pod | None) -> SandboxStartError | None:
    """That the network of a sandbox could not be cut: then it must not run."""
    for status in pod.status.get("initContainerStatuses", ()) if pod is not None else ():
        ended = status.get("state", {}).get("terminated")
        if ended is not None and ended.get("exitCode") != 0:
            code, said = ended.get("exitCode"), ended.get("message") or ended.get("reason")
            allowlist = pod is not None and pod.labels.get(labels.NETWORK) == "allowlist"
            need = "egress.image needs `python3`, `ip` and `iptables`" if allowlist else "cut_image needs `sh` and `ip`"
            return SandboxStartError(
                f"the network of the sandbox could not be cut (exit code {code}, {' '.join(str(said).split())}); {need}"
            )
    return None


def stranded(proxy: Pod | None) -> SandboxLost | None:
    """That a sandbox has lost its way out; None while the proxy lives, or has not begun to."""
    if proxy is None or proxy.deleting:
        return SandboxLost("its egress proxy is gone: somebody removed it", cause="egress")
    if (error := lost(proxy)) is not None:
        return SandboxLost(f"its egress proxy is gone: {error}", cause="egress")
    status = _container(proxy)
    if status.get("restartCount"):  # what it carried is lost, whoever killed it
        code = status.get("lastState", {}).get("terminated", {}).get("exitCode")
        return SandboxLost(f"its egress proxy died (exit code {code})", cause="egress")
    return None


def unschedulable(pod: Pod | None) -> SandboxStartError | None:
    """That no node takes a pod, with the resource that is short; None when nobody has said so."""
    for condition in _conditions(pod, "PodScheduled") if pod is not None else ():
        if condition.get("status") == "False" and condition.get("reason") in ("Unschedulable", "SchedulingGated"):
            return SandboxStartError(
                f"no node takes the sandbox: {condition.get('message', '')}", cause="unschedulable"
            )
    return None


def unreachable(pod: Pod | None) -> bool:
    """Whether the cluster has given up a running pod's node for now: it says that what runs is not ready."""
    ready = [one.get("status") for one in _conditions(pod, "Ready")] if pod is not None and pod.running else []
    return "False" in ready or "Unknown" in ready


def slow(pod: Pod | None, seconds: float) -> SandboxError:
    """That a pod did not start in time, with what it waits for."""
    if (error := unschedulable(pod)) is not None:
        return error
    waits = [(reason, message) for _, reason, message in _waiting(pod)] if pod is not None else []
    said = "; ".join(f"{reason} {message}".strip() for reason, message in waits) or (pod.phase if pod else "no pod")
    cause = "image" if any("ImagePull" in reason for reason, _ in waits) else "slow"
    return SandboxStartError(f"the sandbox did not start in {seconds:g} s: {said}", cause=cause)


def refused(error: ApiRefused, namespace: str) -> SandboxError:
    """What the API's refusal to make a pod means."""
    text = str(error)
    if "exceeded quota" in text:
        return SandboxStartError(f"the quota of namespace {namespace} is used up: {text}", cause="quota")
    if error.status_code == 404:
        return SandboxStartError(f"namespace {namespace}: {text}; make it, or name another with namespace")
    return SandboxStartError(text)


def _conditions(pod: Pod, kind: str) -> Iterator[dict[str, Any]]:
    return (one for one in pod.status.get("conditions", ()) if one.get("type") == kind)


def _container(pod: Pod) -> dict[str, Any]:
    wanted = PROXY if pod.labels.get(labels.NETWORK) == labels.EGRESS else CONTAINER
    return next((one for one in pod.status.get("containerStatuses", ()) if one.get("name") == wanted), {})


def _waiting(pod: Pod) -> Iterator[tuple[str, str, str]]:
    """Container, reason and message of everything that waits."""
    for status in (*pod.status.get("initContainerStatuses", ()), *pod.status.get("containerStatuses", ())):
        state = status.get("state", {}).get("waiting")
        if state is not None:
            yield status.get("name", ""), str(state.get("reason", "")), str(state.get("message", ""))


def _image(pod: Pod, name: str) -> str:
    statuses = (*pod.status.get("initContainerStatuses", ()), *pod.status.get("containerStatuses", ()))
    return next((str(one.get("image", "")) for one in statuses if one.get("name") == name), "")
