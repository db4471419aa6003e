"""Where sandboxes with an allowlist are tried: what differs between an engine and a cluster, for one suite."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envfarm.k8s import egress, labels
from envfarm.k8s.backend import KubernetesBackend
from envfarm.k8s.config import KubernetesConfig
from envfarm.toolbox.egress.config import EgressConfig
from envfarm.toolbox.sandboxes.base import Backend, Isolation, Limits, Sandbox, SandboxSpec
from envfarm.toolbox.sandboxes.docker import DockerBackend, DockerSandbox
from envfarm.toolbox.sandboxes.docker_egress import EGRESS, EGRESS_OWNER

Targets = list[tuple[str, int]]


class Datagrams(asyncio.DatagramProtocol):
    """What arrived, from wherever."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.news = asyncio.Event()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.got.append(data)
        self.news.set()


@dataclass
class World:
    """A server on this machine that stands for the host on the list, and for all others."""

    address: str
    plain: int = 0
    tls: int = 0
    udp: int = 0
    datagrams: Datagrams = field(default_factory=Datagrams)

    async def settled(self) -> list[bytes]:
        """The datagrams so far: whatever was sent before one of our own has come before that, or never will."""
        with socket.socket(type=socket.SOCK_DGRAM) as own:
            own.sendto(b"ours", (self.address, self.udp))
        while b"ours" not in self.datagrams.got:
            self.datagrams.news.clear()
            await asyncio.wait_for(self.datagrams.news.wait(), 30)
        return [one for one in self.datagrams.got if one != b"ours"]


@asynccontextmanager
async def opened(address: str, folder: Path) -> AsyncIterator[World]:
    """Answers each request with its head, over HTTP and over TLS, at an address of this machine's."""
    world = World(address)
    await asyncio.to_thread(_certificate, folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert", folder / "key")
    wires: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wires.append(writer)
        await _answer(reader, writer)

    plain = await asyncio.start_server(answer, address, 0)
    tls = await asyncio.start_server(answer, address, 0, ssl=context)
    udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: world.datagrams, local_addr=("0.0.0.0", 0), allow_broadcast=True
    )
    world.plain, world.tls = (server.sockets[0].getsockname()[1] for server in (plain, tls))
    world.udp = udp.get_extra_info("sockname")[1]
    yield world
    for server in (plain, tls, udp):
        server.close()
    for wire in wires:  # whose other end may have gone without a word, as pods do
        wire.transport.abort()
    await asyncio.sleep(0)


def _certificate(folder: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=listed.test",
         "-keyout", folder / "key", "-out", folder / "cert"],
        check=True, capture_output=True,
    )  # fmt: skip


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nserver saw " + head)
        await writer.drain()
        late = await reader.read(1000) if b"x-wait" in head else b""
        writer.write(b"then " + late)
    except (OSError, EOFError):
        pass
    finally:
        writer.close()


class Place(ABC):
    """A back end whose proxies find the test's hosts."""

    backend: Backend

    def __init__(self, owner: str, image: str, isolation: Isolation, world: World) -> None:
        self.owner = owner
        self.image = image
        self.isolation: Isolation = isolation
        self.world = world

    def spec(self) -> SandboxSpec:
        """A sandbox with a list."""
        hosts = (f"listed.test:{self.world.plain}", f"listed.test:{self.world.tls}", "meta.test")
        limits = Limits(cpus=1, memory_mb=256, pids=64)
        return SandboxSpec(
            image=self.image, isolation=self.isolation, network="allowlist", allowed_hosts=hosts, limits=limits
        )

    async def start(self, lease: str) -> Sandbox:
        """Start one."""
        return await self.backend.start(self.spec(), owner=self.owner, lease=lease)

    def told(self) -> dict[str, Any]:
        """What the proxies are told of the world."""
        hosts = {"listed.test": self.world.address, "other.test": self.world.address, "meta.test": "169.254.169.254"}
        return {"private": (f"{self.world.address}/32",), "hosts": hosts}

    @abstractmethod
    def another(self) -> Backend:
        """A back end like this one, as a farm that starts again has."""

    @abstractmethod
    async def targets(self, sandbox: Sandbox, peer: Sandbox) -> Targets:
        """What of this place's own must be out of the sandbox's reach, some of another sandbox's."""

    @abstractmethod
    async def kill(self, sandbox: Sandbox) -> None:
        """End a sandbox's proxy without warning."""

    @abstractmethod
    async def gone(self, sandbox: Sandbox) -> bool:
        """Whether nothing of a sandbox's way out is left, or will be soon."""


class OnEngine(Place):
    """Containers of a Docker engine."""

    def __init__(self, owner: str, image: str, isolation: Isolation, world: World, proxy: str) -> None:
        super().__init__(owner, image, isolation, world)
        self.backend: DockerBackend = DockerBackend(egress=EgressConfig(image=proxy, **self.told()))

    @staticmethod
    async def address() -> str:
        """Where the proxies' network ends on this machine."""
        backend = DockerBackend()
        network = await backend.api.network()
        about = await backend.api.call(lambda client: client.api.inspect_network(network))
        await backend.close()
        return str(about["IPAM"]["Config"][0]["Gateway"])

    def another(self) -> Backend:
        return DockerBackend()

    async def targets(self, sandbox: Sandbox, peer: Sandbox) -> Targets:
        own, theirs = await self._network(sandbox.id), await self._network(peer.id)
        name = (await self._inspect(sandbox.id))["Config"]["Labels"][EGRESS]
        way = (await self._inspect(name))["NetworkSettings"]["Networks"]
        prefix, _, last = own["IPAddress"].rpartition(".")
        outside = [(net["IPAddress"], 3128) for net in way.values() if not net["IPAddress"].startswith(prefix)]
        assert outside
        return [(f"{prefix}.{(int(last) & ~7) + 1}", 22), (theirs["IPAddress"], 9), *outside]

    async def kill(self, sandbox: Sandbox) -> None:
        await self.backend.api.call(lambda client: client.api.kill(self.way(sandbox)))

    def way(self, sandbox: Sandbox) -> str:
        """The name of a sandbox's network and proxy."""
        assert isinstance(sandbox, DockerSandbox)
        assert sandbox.egress is not None
        return sandbox.egress.name

    async def gone(self, sandbox: Sandbox) -> bool:
        filters = {"label": f"{EGRESS_OWNER}={self.owner}"}
        networks = await self.backend.api.call(lambda client: client.api.networks(filters=filters))
        proxies = await self.backend.api.call(lambda client: client.api.containers(all=True, filters=filters))
        there = {one["Name"] for one in networks} | {one["Names"][0].lstrip("/") for one in proxies}
        return self.way(sandbox) not in there

    async def _network(self, container: str) -> dict[str, Any]:
        (only,) = (await self._inspect(container))["NetworkSettings"]["Networks"].values()
        return dict(only)

    async def _inspect(self, container: str) -> dict[str, Any]:
        return dict(await self.backend.api.call(lambda client: client.api.inspect_container(container)))


class InCluster(Place):
    """Pods of a cluster, whose network nobody polices."""

    def __init__(
        self, owner: str, image: str, isolation: Isolation, world: World, config: KubernetesConfig, proxy: str
    ) -> None:
        super().__init__(owner, image, isolation, world)
        self._config = config
        self._egress = EgressConfig(image=proxy, **self.told())
        self.backend: KubernetesBackend = KubernetesBackend(config, egress=self._egress)

    @staticmethod
    def address(node: str) -> str:
        """Where this machine stands on the network of a cluster's node."""
        with socket.socket(type=socket.SOCK_DGRAM) as way:
            way.connect((node, 9))
            return str(way.getsockname()[0])

    def another(self) -> Backend:
        return KubernetesBackend(self._config, egress=self._egress)

    async def targets(self, sandbox: Sandbox, peer: Sandbox) -> Targets:
        service = (await self.backend.api.request("GET", "/api/v1/namespaces/default/services/kubernetes"))["spec"]
        dns = (await self.backend.api.request("GET", "/api/v1/namespaces/kube-system/services/kube-dns"))["spec"]
        own, theirs = self.backend.pods.get(sandbox.id), self.backend.pods.get(peer.id)
        assert own is not None
        assert theirs is not None
        node = own.status["hostIP"]
        return [
            (service["clusterIP"], 443),
            (dns["clusterIP"], 53),
            (node, 10250),
            (node, 6443),
            (own.annotations[labels.ADDRESS], 22),
            (theirs.annotations[labels.ADDRESS], 3128),
            (theirs.status["podIP"], 9),
        ]

    async def kill(self, sandbox: Sandbox) -> None:
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
        await self.backend.api.request("DELETE", f"{self.backend.path}/{egress.name(sandbox.id)}", body=body)

    async def gone(self, sandbox: Sandbox) -> bool:
        with contextlib.suppress(TimeoutError):
            return await self.backend.pods.until(egress.name(sandbox.id), lambda pod: True if pod is None else None, 60)
        return False
