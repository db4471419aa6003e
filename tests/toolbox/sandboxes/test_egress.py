"""A sandbox with an allowlist reaches the hosts on it through its proxy, and nothing else by any way."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
import pytest_asyncio

from envfarm.toolbox.egress.config import EgressConfig
from envfarm.toolbox.errors import ForkUnsupported, SandboxLost
from envfarm.toolbox.sandboxes.base import Isolation, Limits, Sandbox, SandboxSpec
from envfarm.toolbox.sandboxes.docker import DockerBackend, DockerSandbox
from envfarm.toolbox.sandboxes.docker_egress import EGRESS, EGRESS_OWNER

OWNER = f"tests-egress-{uuid.uuid4().hex[:12]}"
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"
# What curl would not send: raw bytes to the proxy that the environment names.
RAW = """
import os, socket, sys
from urllib.parse import urlsplit
place = urlsplit(os.environ["http_proxy"])
with socket.create_connection((place.hostname, place.port), 10) as wire:
    wire.sendall(sys.argv[1].encode().decode("unicode_escape").encode("latin-1"))
    while data := wire.recv(65536):
        sys.stdout.write(data.decode("latin-1"))
"""
# TLS through CONNECT that greets under another name than the one it asked the proxy for.
TLS = """
import os, socket, ssl, sys
from urllib.parse import urlsplit
place, (target, name) = urlsplit(os.environ["http_proxy"]), sys.argv[1:]
wire = socket.create_connection((place.hostname, place.port), 10)
wire.sendall(f"CONNECT {target} HTTP/1.1\\r\\n\\r\\n".encode())
print(wire.recv(65536).split()[1].decode())
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with context.wrap_socket(wire, server_hostname=name or None) as tls:
    tls.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
    print(tls.recv(65536).decode())
"""


@dataclass(frozen=True)
class World:
    """A server on this machine that stands for the host on the list, and for all others."""

    address: str
    plain: int
    tls: int


@pytest.fixture(scope="module")
def isolations(engine: docker.DockerClient) -> set[str]:
    """What the engine offers."""
    return {"runc"} | ({"gvisor"} if "runsc" in (engine.info().get("Runtimes") or {}) else set())


def _certificate(folder: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=listed.test",
         "-keyout", folder / "key", "-out", folder / "cert"],
        check=True, capture_output=True,
    )  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Answers each request with its head, over HTTP and over TLS, where the proxies' network ends on this machine."""
    backend = DockerBackend()
    network = await backend.api.network()
    about = await backend.api.call(lambda client: client.api.inspect_network(network))
    await backend.close()
    address = about["IPAM"]["Config"][0]["Gateway"]
    folder: Path = tmp_path_factory.mktemp("tls")
    await asyncio.to_thread(_certificate, folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert", folder / "key")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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

    plain = await asyncio.start_server(answer, address, 0)
    tls = await asyncio.start_server(answer, address, 0, ssl=context)
    yield World(address, plain.sockets[0].getsockname()[1], tls.sockets[0].getsockname()[1])
    plain.close()
    tls.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(world: World, image: object) -> AsyncIterator[DockerBackend]:
    """An engine whose proxies find the test's hosts."""
    assert callable(image)
    hosts = {"listed.test": world.address, "other.test": world.address, "meta.test": "169.254.169.254"}
    config = EgressConfig(image=image("egress"), private=(f"{world.address}/32",), hosts=hosts)  # type: ignore[arg-type]
    made = DockerBackend(egress=config)
    yield made
    await made.reap(OWNER, keep=[])
    await made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["runc", "gvisor"])
async def sandbox(
    request: pytest.FixtureRequest, backend: DockerBackend, world: World, docker_base: str, isolations: set[str]
) -> AsyncIterator[Sandbox]:
    """A sandbox that may reach one host."""
    if request.param not in isolations:
        pytest.skip("the engine offers no gVisor")
    started = await backend.start(spec(world, docker_base, request.param), owner=OWNER, lease="egress")
    yield started
    await started.close()


def spec(world: World, image: str, isolation: Isolation = "runc") -> SandboxSpec:
    """A sandbox with a list."""
    hosts = (f"listed.test:{world.plain}", f"listed.test:{world.tls}", "meta.test")
    limits = Limits(cpus=1, memory_mb=256, pids=64)
    return SandboxSpec(image=image, isolation=isolation, network="allowlist", allowed_hosts=hosts, limits=limits)


async def python(sandbox: Sandbox, program: str, *arguments: str) -> str:
    """What a program prints, both streams."""
    await sandbox.write("/tmp/program.py", program.encode())
    words = " ".join(f"'{word}'" for word in arguments)
    result = await sandbox.run(f"python3 /tmp/program.py {words} 2>&1", timeout=60)
    return result.stdout.decode()


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_listed_host_is_reached(sandbox: Sandbox, world: World) -> None:
    plain = await sandbox.run(f"curl -sS http://listed.test:{world.plain}/a")
    assert b"server saw GET /a" in plain.stdout, plain.stderr
    tls = await sandbox.run(f"curl -sSk https://listed.test:{world.tls}/b")
    assert b"server saw GET /b" in tls.stdout, tls.stderr


async def test_another_host_is_not(sandbox: Sandbox, world: World) -> None:
    plain = await sandbox.run(f"curl -sS http://other.test:{world.plain}/")
    assert b"other.test" in plain.stdout
    assert b"not on the task's list" in plain.stdout
    tls = await sandbox.run(f"curl -sSk https://other.test:{world.tls}/")
    assert (tls.exit_code, tls.stdout) == (56, b"")
    again = await sandbox.run("curl -sS http://listed.test/")  # a port that is not listed
    assert b"not on the task's list" in again.stdout


async def test_a_name_that_leads_to_a_private_address_is_not(sandbox: Sandbox) -> None:
    assert b"has a private address" in (await sandbox.run("curl -sS http://meta.test/latest/")).stdout


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "2852039166", "[::ffff:169.254.169.254]", "127.0.0.1", "localhost"]
)
async def test_the_proxy_connects_to_no_address(sandbox: Sandbox, host: str) -> None:
    assert "HTTP/1.1 403" in await python(sandbox, RAW, rf"CONNECT {host}:443 HTTP/1.1\r\n\r\n")
    assert "HTTP/1.1 403" in await python(sandbox, RAW, rf"GET http://{host}/ HTTP/1.1\r\nHost: listed.test\r\n\r\n")


async def test_a_host_header_and_a_second_request_change_nothing(sandbox: Sandbox, world: World) -> None:
    url = f"http://listed.test:{world.plain}/"
    said = await python(
        sandbox,
        RAW,
        rf"GET {url} HTTP/1.1\r\nHost: other.test\r\nX-Wait: 1\r\n\r\nGET http://other.test/ HTTP/1.1\r\n\r\n",
    )
    assert f"host: listed.test:{world.plain}" in said
    assert "other.test" not in said


async def test_tls_is_for_the_host_that_was_asked_for(sandbox: Sandbox, world: World) -> None:
    target = f"listed.test:{world.tls}"
    assert "server saw" in await python(sandbox, TLS, target, "listed.test")
    for name in ("other.test", ""):
        said = await python(sandbox, TLS, target, name)
        assert said.startswith("200")
        assert "server saw" not in said
    said = await python(sandbox, RAW, rf"CONNECT listed.test:{world.plain} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")
    assert "server saw" not in said


async def test_nothing_is_reached_without_the_proxy(
    sandbox: Sandbox, backend: DockerBackend, world: World, docker_base: str
) -> None:
    about = await backend.api.call(lambda client: client.api.inspect_container(sandbox.id))
    (own,) = about["NetworkSettings"]["Networks"].values()
    prefix, _, last = own["IPAddress"].rpartition(".")
    peer = await backend.start(spec(world, docker_base), owner=OWNER, lease="peer")
    other = await backend.api.call(lambda client: client.api.inspect_container(peer.id))
    (theirs,) = other["NetworkSettings"]["Networks"].values()
    way = await backend.api.call(lambda client: client.api.inspect_container(about["Config"]["Labels"][EGRESS]))
    outside = [net["IPAddress"] for name, net in way["NetworkSettings"]["Networks"].items() if name != EGRESS]
    gateway = f"{prefix}.{(int(last) & ~7) + 1}"
    targets = [
        (world.address, world.plain),
        (gateway, 22),
        (theirs["IPAddress"], 9),
        ("169.254.169.254", 80),
        ("1.1.1.1", 443),
    ]
    targets += [(address, 3128) for address in outside if not address.startswith(prefix)]
    calls = [f"python3 -c '{CONNECT}' {host} {port} 2>&1 | tail -1 &" for host, port in targets]
    said = (await sandbox.run("\n".join([*calls, "wait"]), timeout=60)).stdout.decode().splitlines()
    await peer.close()
    assert len(said) == len(targets), said  # each one failed, and says how
    assert not any("refused" in line.lower() for line in said), said


async def test_names_datagrams_and_raw_packets_lead_nowhere(sandbox: Sandbox) -> None:
    dns = await sandbox.run("timeout 4 getent hosts deb.debian.org; timeout 4 getent hosts listed.test")
    assert dns.stdout == b""
    raw = await sandbox.run("python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)' 2>&1")
    assert b"not permitted" in raw.stdout
    ask = (
        "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(2); "
        's.sendto(bytes.fromhex("00010100000100000000000003646562036f72670000010001"), ("8.8.8.8", 53)); '
        "print(s.recv(99))"
    )
    assert b"b'" not in (await sandbox.run(f"python3 -c '{ask}' 2>&1")).stdout.splitlines()[-1][:2]


async def test_it_lives_through_a_restart_of_the_farm(sandbox: Sandbox, backend: DockerBackend, world: World) -> None:
    again = DockerBackend()
    taken = await again.attach(sandbox.id)
    assert b"server saw" in (await taken.run(f"curl -sS http://listed.test:{world.plain}/")).stdout
    await taken.detach()
    await again.close()


async def test_a_fork_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ForkUnsupported, match="allowlist"):
        await sandbox.fork(["one"])


async def test_a_dead_proxy_is_a_fault_of_the_farm(backend: DockerBackend, world: World, docker_base: str) -> None:
    started = await backend.start(spec(world, docker_base), owner=OWNER, lease="dead")
    assert isinstance(started, DockerSandbox)
    assert started.egress is not None
    name = started.egress.name
    running = asyncio.create_task(started.run("sleep 60", timeout=90))
    await backend.api.call(lambda client: client.api.kill(name))
    with pytest.raises(SandboxLost, match="egress proxy died") as caught:
        await running
    assert caught.value.cause == "egress"
    await started.close()


async def test_nothing_is_left(backend: DockerBackend, world: World, docker_base: str) -> None:
    kept = await backend.start(spec(world, docker_base), owner=OWNER, lease="kept")
    left = await backend.start(spec(world, docker_base), owner=OWNER, lease="left")
    await left.detach()  # as a farm that was killed
    others = {one.id for one in await backend.find(OWNER)} - {left.id}
    assert await backend.reap(OWNER, keep=others) == [left.id]
    assert b"server saw" in (await kept.run(f"curl -sS http://listed.test:{world.plain}/")).stdout
    await kept.close()
    filters = {"label": f"{EGRESS_OWNER}={OWNER}"}
    assert isinstance(left, DockerSandbox)
    assert left.egress is not None
    assert isinstance(kept, DockerSandbox)
    assert kept.egress is not None
    there = {one["Name"] for one in await backend.api.call(lambda client: client.api.networks(filters=filters))}
    assert there.isdisjoint({left.egress.name, kept.egress.name})
