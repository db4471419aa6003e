"""A sandbox with an allowlist reaches the hosts on it through its proxy, and nothing else by any way."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import docker
import pytest
import pytest_asyncio

from envfarm.k8s.config import KubernetesConfig
from envfarm.toolbox.errors import ForkUnsupported, SandboxLost
from envfarm.toolbox.sandboxes.base import Isolation, Sandbox

from ...conftest import Cluster
from .ways import InCluster, OnEngine, Place, World, opened

OWNER = f"tests-egress-{uuid.uuid4().hex[:12]}"
_ROOTS = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
PLACES = ["docker", "docker-gvisor", "kubernetes", "kubernetes-gvisor"]
# To each host and port, by routes and without: a socket that is bound to a device takes everybody for a neighbour.
CONNECT = """
import socket, sys, threading
def call(host, port, device):
    with socket.socket() as wire:
        wire.settimeout(3)
        try:
            if device:
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            wire.connect((host, int(port)))
            print(host, port, device, "connected")
        except OSError as error:
            print(host, port, device, error.strerror or error)
devices = ["-", *(name for _, name in socket.if_nameindex() if name != "lo")]
for device in devices:
    for host, port in zip(sys.argv[1::2], sys.argv[2::2]):
        threading.Thread(target=call, args=(host, port, device.strip("-"))).start()
"""
# Datagrams to the same port of everybody: of this machine, of all on the network, of a group.
SHOUT = """
import socket, sys
for device in ["", *(name for _, name in socket.if_nameindex() if name != "lo")]:
    for host in [sys.argv[1], "255.255.255.255", "224.0.0.1", "10.213.255.255"]:
        with socket.socket(type=socket.SOCK_DGRAM) as wire:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            try:
                if device:
                    wire.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
                wire.sendto(f"to {host} by {device}".encode(), (host, int(sys.argv[2])))
            except OSError:
                pass
print("done")
"""
# A default route by way of an address, as `ip route add` asks the kernel for it.
ROUTE = """
import os, socket, struct, sys
body = struct.pack("BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0)
body += struct.pack("HH4s", 8, 5, socket.inet_aton(sys.argv[1]))
body += struct.pack("HHi", 8, 4, socket.if_nametoindex("eth0"))
wire = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
wire.send(struct.pack("IHHII", 16 + len(body), 24, 0x605, 1, 0) + body)
print(os.strerror(-struct.unpack("i", wire.recv(4096)[16:20])[0]))
"""
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


@pytest.fixture(scope="module")
def isolations(engine: docker.DockerClient) -> set[str]:
    """What the engine offers."""
    return {"runc"} | ({"gvisor"} if "runsc" in (engine.info().get("Runtimes") or {}) else set())


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=PLACES)
async def place(
    request: pytest.FixtureRequest,
    image: Callable[[str], str],
    isolations: set[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Place]:
    """Where this round of the suite is tried."""
    isolation: Isolation = "gvisor" if request.param.endswith("gvisor") else "runc"
    folder = tmp_path_factory.mktemp("tls")
    base, proxy = image("base"), image("egress")
    if request.param.startswith("docker"):
        if isolation not in isolations:
            pytest.skip("the engine offers no gVisor")
        address = await OnEngine.address()
        make: Callable[[World], Place] = lambda world: OnEngine(OWNER, base, isolation, world, proxy)  # noqa: E731
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        if isolation == "gvisor" and not cluster.gvisor:
            pytest.skip("the cluster offers no gVisor")
        node = cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.addresses[0].address}")
        address = InCluster.address(node)
        config = KubernetesConfig(
            kubeconfig=cluster.kubeconfig,
            namespace="default",
            farm=f"{OWNER}-{isolation}",
            cpu_requests=0.01,
            memory_requests=0.1,
            prove=False,  # what a preflight says has tests of its own
        )
        pushed, pinned = cluster.push(base), cluster.pin(proxy)
        make = lambda world: InCluster(OWNER, pushed, isolation, world, config, pinned)  # noqa: E731
    async with opened(address, folder) as world:
        made = make(world)
        yield made
        await made.backend.reap(OWNER, keep=[])
        await made.backend.close()


@pytest.fixture(scope="module")
def world(place: Place) -> World:
    """The hosts of the place."""
    return place.world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(place: Place) -> AsyncIterator[Sandbox]:
    """A sandbox that may reach one host."""
    started = await place.start("egress")
    yield started
    await started.close()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, env=_ROOTS)


@contextmanager
def beyond() -> Iterator[tuple[str, int]]:
    """A server behind this machine, as the internet is: in a network namespace that it forwards to."""
    name, near, far = f"egress-{OWNER[-12:]}", f"eg0{OWNER[-8:]}", f"eg1{OWNER[-8:]}"
    host, port = "198.51.100.2", 8000
    _ip("netns", "add", name)
    try:
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        _ip("address", "add", "198.51.100.1/30", "dev", near)
        _ip("link", "set", near, "up")
        _ip("-n", name, "address", "add", f"{host}/30", "dev", far)
        _ip("-n", name, "link", "set", far, "up")
        _ip("-n", name, "route", "add", "default", "via", "198.51.100.1")
        serve = [sys.executable, "-m", "http.server", str(port), "--bind", host]
        server = subprocess.Popen(["ip", "netns", "exec", name, *serve], env=_ROOTS, stderr=subprocess.DEVNULL)
        try:
            while not _answers(host, port):
                assert server.poll() is None
                time.sleep(0.05)
            yield host, port
        finally:
            server.kill()
            server.wait()
    finally:
        _ip("netns", "delete", name)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


async def python(sandbox: Sandbox, program: str, *arguments: object) -> str:
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


async def test_nothing_is_reached_without_the_proxy(sandbox: Sandbox, place: Place, world: World) -> None:
    peer = await place.start("peer")
    targets = [(world.address, world.plain), ("169.254.169.254", 80), ("1.1.1.1", 443)]
    targets += await place.targets(sandbox, peer)
    said = (await python(sandbox, CONNECT, *(word for target in targets for word in target))).splitlines()
    await peer.close()
    assert len(said) == 2 * len(targets), said  # each one failed, and says how
    assert not [line for line in said if "refused" in line.lower() or "connected" in line], said


async def test_names_datagrams_and_raw_packets_lead_nowhere(sandbox: Sandbox, place: Place, world: World) -> None:
    dns = await sandbox.run("timeout 4 getent hosts deb.debian.org; timeout 4 getent hosts listed.test")
    assert dns.stdout == b""
    raw = await sandbox.run("python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)' 2>&1")
    assert b"not permitted" in raw.stdout
    assert await python(sandbox, SHOUT, world.address, world.udp) == "done\n"
    heard = await world.settled()
    if isinstance(place, OnEngine):  # whose machine hears what is called out to all, and has no way to answer
        heard = [one for one in heard if not one.startswith((b"to 255.255.255.255", b"to 224.0.0.1"))]
    assert heard == []


async def test_root_can_change_no_route_and_no_interface(sandbox: Sandbox, world: World) -> None:
    assert "not permitted" in await python(sandbox, ROUTE, world.address)
    assert "connected" not in await python(sandbox, CONNECT, world.address, world.plain)


async def test_it_lives_through_a_restart_of_the_farm(sandbox: Sandbox, place: Place, world: World) -> None:
    again = place.another()
    taken = await again.attach(sandbox.id)
    assert b"server saw" in (await taken.run(f"curl -sS http://listed.test:{world.plain}/")).stdout
    await taken.detach()
    await again.close()


async def test_a_fork_is_refused(sandbox: Sandbox, place: Place) -> None:
    with pytest.raises(ForkUnsupported, match="allowlist" if isinstance(place, OnEngine) else "Docker"):
        await sandbox.fork(["one"])


async def test_a_dead_proxy_is_a_fault_of_the_farm(place: Place) -> None:
    started = await place.start("dead")
    running = asyncio.create_task(started.run("sleep 60", timeout=90))
    await place.kill(started)
    with pytest.raises(SandboxLost, match=r"egress proxy (died|is gone)") as caught:
        await running
    assert caught.value.cause == "egress"
    await started.close()


async def test_nothing_is_left(place: Place, world: World) -> None:
    kept, left = await place.start("kept"), await place.start("left")
    await left.detach()  # as a farm that was killed
    others = {one.id for one in await place.backend.find(OWNER)} - {left.id}
    assert await place.backend.reap(OWNER, keep=others) == [left.id]
    assert b"server saw" in (await kept.run(f"curl -sS http://listed.test:{world.plain}/")).stdout
    await kept.close()
    assert await place.gone(left)
    assert await place.gone(kept)


async def test_the_flag_internal_of_the_engines_network_is_a_wall_by_itself(
    sandbox: Sandbox, place: Place, engine: docker.DockerClient
) -> None:
    """With the other wall down: this machine gets the address that the network would be routed by."""
    if not isinstance(place, OnEngine) or os.geteuid() != 0:
        pytest.skip("a Docker engine of this machine, and root")
    network = engine.networks.get(place.way(sandbox))
    assert network.id is not None
    subnet = ipaddress.ip_network(network.attrs["IPAM"]["Config"][0]["Subnet"])
    here = f"{subnet[1]}/{subnet.prefixlen}", "dev", f"br-{network.id[:12]}"
    _ip("address", "add", *here)
    try:
        with beyond() as (host, port):
            said = await python(sandbox, CONNECT, subnet[1], 9, host, port)
    finally:
        _ip("address", "del", *here)
    answers = {line.split()[0]: line for line in said.splitlines()}
    assert "refused" in answers[str(subnet[1])]  # by this machine: the other wall is down
    assert not [line for line in said.splitlines() if line.startswith(host) and "connected" in line], said
