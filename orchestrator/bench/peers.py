"""What we measure ourselves against: bare Docker, and SWE-ReX from PyPI in a virtual environment of its own."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import tarfile
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import kubernetes
import kubernetes.stream
from docker.models.containers import Container

from envfarm.orchestrator.bench.report import median
from envfarm.toolbox.errors import FarmError

SWEREX = "1.4.0"
_SWEREX_DOCKERFILE = f"""\
FROM {{base}}
ARG SSL_CERT_FILE
ARG PIP_CERT
RUN pip install --no-cache-dir swe-rex=={SWEREX}
"""


class PeerFailed(FarmError):
    """A program that we compare ourselves with did not run."""


@contextmanager
def container(image: str, runtime: str) -> Iterator[Container]:
    """A bare container that sleeps, removed at the end."""
    client = docker.from_env()
    made = client.containers.run(image, ["sleep", "3600"], detach=True, network_mode="none", runtime=runtime)
    try:
        yield made
    finally:
        made.remove(force=True)
        client.close()


def has_runtime(name: str) -> bool:
    """Whether the engine offers a runtime."""
    client = docker.from_env()
    try:
        return name in client.info()["Runtimes"]
    finally:
        client.close()


def docker_exec(image: str, rounds: int, *, runtime: str = "runc") -> list[float]:
    """Seconds of each `docker exec true` through docker-py."""
    times = []
    with container(image, runtime) as box:
        for _ in range(rounds + 1):  # the first one warms up
            begin = time.perf_counter()
            box.exec_run(["true"])
            times.append(time.perf_counter() - begin)
    return times[1:]


def docker_start(image: str, rounds: int) -> list[float]:
    """Seconds of each `docker run` with its first `docker exec`."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        with container(image, "runc") as box:
            box.exec_run(["true"])
            times.append(time.perf_counter() - begin)
    return times


def docker_churn(image: str, seconds: float, workers: int) -> float:
    """Containers run and removed for each second by `workers` bare loops side by side."""
    end = time.perf_counter() + seconds

    def loop(_: int) -> int:
        count = 0
        while time.perf_counter() < end:
            with container(image, "runc"):
                count += 1
        return count

    begin = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        count = sum(pool.map(loop, range(workers)))
    return count / (time.perf_counter() - begin)


async def swerex(base: str, rounds: int, cache: Path) -> dict[str, float]:
    """Medians in milliseconds of SWE-ReX's start, `run_in_session` and `execute`."""
    python = await environment(cache / f"swerex-{SWEREX}", f"swe-rex=={SWEREX}", "aiohttp")
    image = f"envfarm/bench-swerex:{SWEREX}"
    await asyncio.to_thread(_build, image, _SWEREX_DOCKERFILE.format(base=base))
    printed = await command(str(python), str(Path(__file__).with_name("swerex_peer.py")), image, str(rounds))
    times: dict[str, list[float]] = json.loads(printed)
    return {name: median(values) for name, values in times.items()}


def _build(image: str, dockerfile: str) -> None:
    client = docker.from_env()
    try:
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            info = tarfile.TarInfo("Dockerfile")
            info.size = len(dockerfile)
            tar.addfile(info, io.BytesIO(dockerfile.encode()))
        archive.seek(0)
        args: Any = {"SSL_CERT_FILE": bundle, "PIP_CERT": bundle}
        client.images.build(fileobj=archive, custom_context=True, tag=image, rm=True, buildargs=args)
    finally:
        client.close()


async def environment(folder: Path, *requirements: str) -> Path:
    """The Python of a virtual environment that has these, made when it is missing. Raises PeerFailed."""
    python = folder / "bin" / "python"
    if not python.exists():
        await command(sys.executable, "-m", "venv", str(folder))
        await command(str(python), "-m", "pip", "install", "-q", *requirements)
    return python


async def command(*argv: str) -> bytes:
    """What a program prints. Raises PeerFailed."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    stdout, stderr = await process.communicate()
    if process.returncode:
        raise PeerFailed(f"{' '.join(argv)}: exit status {process.returncode}: {stderr.decode()[-500:]}")
    return stdout


def pod_exec(namespace: str, pod: str, container: str, rounds: int) -> list[float]:
    """Seconds of each exec of `true` into a pod with the official client, a WebSocket for each, as peers do it."""
    kubernetes.config.load_kube_config()
    api = kubernetes.client.CoreV1Api()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        kubernetes.stream.stream(
            api.connect_get_namespaced_pod_exec, pod, namespace, container=container, command=["true"],
            stdin=False, stdout=True, stderr=True, tty=False,
        )  # fmt: skip
        times.append(time.perf_counter() - begin)
    return times


async def kubectl_create(namespace: str, pods: Sequence[dict[str, Any]]) -> float:
    """Seconds from `kubectl create` of all pods until `kubectl wait` has seen all of them ready."""
    items = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(pods)})
    begin = time.perf_counter()
    await _kubectl(items, "create", "-n", namespace, "-f", "-")
    names = [f"pod/{pod['metadata']['name']}" for pod in pods]
    await _kubectl("", "wait", "-n", namespace, "--for=condition=Ready", "--timeout=300s", *names)
    return time.perf_counter() - begin


async def _kubectl(text: str, *words: str) -> None:
    process = await asyncio.create_subprocess_exec("kubectl", *words, stdin=PIPE, stdout=DEVNULL)
    await process.communicate(text.encode())
    if process.returncode:
        raise PeerFailed(f"kubectl {words[0]} ended with {process.returncode}")
