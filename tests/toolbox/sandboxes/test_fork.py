"""Forks of live sandboxes: everything is copied, both sides live on apart, and nothing is left lying about."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import docker
import pytest
import pytest_asyncio

from envfarm.toolbox.errors import ForkUnsupported, SandboxError, SandboxLost, SandboxStartError
from envfarm.toolbox.sandboxes.base import Limits, Network, Sandbox, SandboxSpec
from envfarm.toolbox.sandboxes.docker import DockerBackend
from envfarm.toolbox.sandboxes.docker_fork import lacking
from envfarm.toolbox.sandboxes.local import LocalBackend

OWNER = f"tests-{uuid.uuid4().hex[:12]}"
LOOK = "pwd; echo $KEPT; umask; cat /root/file /dev/shm/file; (kill -0 $JOB && echo job)"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def backend(forking: str | None) -> AsyncIterator[DockerBackend]:
    """A back end whose engine can fork; at the end of a test nothing is left of it."""
    backend = DockerBackend(forking)
    yield backend
    await backend.reap(OWNER, keep=())
    await backend.close()


async def start(backend: DockerBackend, image: str, *, network: Network = "none", isolation: str = "gvisor") -> Sandbox:
    spec = SandboxSpec(
        image=image, isolation=isolation, network=network, limits=Limits(cpus=2, memory_mb=512, pids=256)
    )
    return await backend.start(spec, owner=OWNER, lease="origin")


async def fork(sandbox: Sandbox, lease: str = "fork") -> Sandbox:
    [twin] = await sandbox.fork([lease])
    return twin


async def said(sandbox: Sandbox, command: str) -> str:
    result = await sandbox.run(command, session="agent")
    return (result.stdout + result.stderr).decode()


async def leases(backend: DockerBackend) -> list[str]:
    return sorted(one.lease for one in await backend.find(OWNER))


@pytest.mark.parametrize("name", ["base", "busybox"])
async def test_a_fork_goes_on_where_its_origin_was_and_both_live_apart(
    backend: DockerBackend, docker_base: str, docker_busybox: str, name: str
) -> None:
    origin = await start(backend, docker_base if name == "base" else docker_busybox)
    await said(origin, "cd /tmp; export KEPT=5; unexported=6; umask 27; echo root >/root/file; echo shm >/dev/shm/file")
    await said(origin, "greet() { echo hello $1; }; sleep 1000 & export JOB=$!")
    before = await said(origin, LOOK)
    assert before == "/tmp\n5\n0027\nroot\nshm\njob\n"
    twin = await fork(origin)
    assert twin.spec == origin.spec
    assert await said(twin, LOOK) == before
    assert await said(twin, "echo $unexported; greet you") == "6\nhello you\n"
    assert len(await twin.processes()) == len(await origin.processes())
    await said(twin, "head -c 3000000 /dev/zero >/root/large")
    names = "find / -xdev ! -path '/root/*' ! -path '/tmp/*' | sort"
    assert await said(twin, names) == await said(origin, names)  # nothing shows that scoring could take for work
    await said(twin, "cd /; export KEPT=twin; echo twin >/root/file; kill $JOB; wait $JOB")
    assert await said(origin, LOOK) == before
    await said(origin, "export KEPT=origin; echo origin >/root/file")
    assert "twin\n" in await said(twin, LOOK)
    await origin.close()
    assert await said(twin, "echo $KEPT; cat /root/file") == "twin\ntwin\n"


async def test_several_forks_and_forks_of_forks_have_labels_of_their_own(
    backend: DockerBackend, docker_busybox: str
) -> None:
    origin = await start(backend, docker_busybox)
    await said(origin, "sleep 1000 & export JOB=$!")
    twins = await origin.fork(["a", "b"])
    third = await fork(twins[1], "c")
    fourth = await fork(third, "d")
    assert await leases(backend) == ["a", "b", "c", "d", "origin"]
    boxes = [origin, *twins, third, fourth]
    assert len({box.id for box in boxes}) == 5
    for number, box in enumerate(boxes):
        await said(box, f"export KEPT={number}")
    assert [await said(box, "echo $KEPT") for box in boxes] == [f"{number}\n" for number in range(5)]
    await origin.close()
    assert [await said(box, "kill $JOB && echo ended") for box in boxes[1:]] == ["ended\n"] * 4


async def test_a_farm_that_starts_again_takes_a_fork_back(backend: DockerBackend, docker_base: str) -> None:
    origin = await start(backend, docker_base)
    await origin.run("cd /tmp; kept=5; sleep 1000 &", session="agent", command_id="last")
    twin = await fork(origin)
    assert await twin.recover("last", timeout=10) is None  # it is the origin's
    await twin.detach()
    again = DockerBackend(backend.url)
    second = await again.attach(twin.id)
    assert await second.recover("last", timeout=10) is None
    assert (await second.run("pwd; echo $kept; kill -0 $!", session="agent")).stdout == b"/tmp\n5\n"
    running = asyncio.create_task(second.run("sleep 1; echo done", session="agent", command_id="own"))
    await asyncio.sleep(0.3)
    await second.detach()
    with pytest.raises(SandboxLost):
        await running
    third = await again.attach(twin.id)
    result = await third.recover("own", timeout=30)
    assert result is not None
    assert result.stdout == b"done\n"
    await third.detach()
    await again.close()
    assert await origin.recover("last", timeout=10) is not None


async def test_a_session_that_lost_its_keeper_is_known_in_a_fork_that_was_taken_back(
    backend: DockerBackend, docker_base: str
) -> None:
    origin = await start(backend, docker_base)
    await said(origin, "true")
    twin = await fork(origin)
    await twin.detach()
    again = DockerBackend(backend.url)
    second = await again.attach(twin.id)
    result = await second.run("kill -9 $PPID; sleep 2; echo on", session="agent", timeout=30)
    assert result.stdout == b"on\n"
    await second.detach()
    await again.close()


async def test_a_fork_waits_for_the_command_that_runs(backend: DockerBackend, docker_busybox: str) -> None:
    origin = await start(backend, docker_busybox)
    running = asyncio.create_task(said(origin, "sleep 1; echo ended >/tmp/file; echo said"))
    await asyncio.sleep(0.3)
    twin = await fork(origin)
    assert running.done()
    assert await running == "said\n"
    assert await said(twin, "cat /tmp/file") == "ended\n"


async def test_a_fork_with_a_network_has_an_address_of_its_own(backend: DockerBackend, docker_busybox: str) -> None:
    origin = await start(backend, docker_busybox, network="public")
    address = "ip -o -4 addr show eth0 | tr -s ' ' | cut -d' ' -f4"
    first = await said(origin, address)
    twin = await fork(origin)
    second = await said(twin, address)
    assert "." in first
    assert "." in second
    assert first != second


async def test_no_checkpoint_stays(backend: DockerBackend, docker_busybox: str) -> None:
    origin = await start(backend, docker_busybox)
    twins = await origin.fork(["a", "b"])
    info = await backend.api.call(lambda client: client.info())
    for box in (origin, *twins):
        kept = Path(info["DockerRootDir"]) / "containers" / box.id / "checkpoints"
        assert list(kept.iterdir() if kept.exists() else ()) == []


async def test_a_fork_that_fails_or_is_cancelled_leaves_nothing(backend: DockerBackend, docker_busybox: str) -> None:
    origin = await start(backend, docker_busybox)
    forking = asyncio.create_task(origin.fork(["a", "b"]))
    await asyncio.sleep(0.1)
    forking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await forking
    assert await leases(backend) == ["origin"]
    assert await said(origin, "echo lives") == "lives\n"
    await backend.api.call(lambda client: client.api.kill(origin.id))
    with pytest.raises(SandboxError):
        await origin.fork(["a", "b"])
    assert await leases(backend) == ["origin"]


async def test_what_went_wrong_is_told_also_when_the_copies_cannot_be_removed(
    backend: DockerBackend, docker_busybox: str
) -> None:
    origin = await start(backend, docker_busybox)
    refusals = {b"?checkpoint=": b"no start here", b"DELETE ": b"no removal here"}
    server = await asyncio.start_server(partial(pass_on, backend.url.removeprefix("unix://"), refusals), "127.0.0.1", 0)
    through = DockerBackend("tcp://{}:{}".format(*server.sockets[0].getsockname()))
    same = await through.attach(origin.id)
    with pytest.raises(SandboxStartError, match="no start here"):
        await same.fork(["a", "b"])
    assert await leases(backend) == ["a", "b", "origin"]
    refusals.clear()
    await through.reap(OWNER, keep=[origin.id])  # as the next start does
    assert await leases(backend) == ["origin"]
    await same.detach()
    await through.close()
    server.close()


async def pass_on(
    engine: str, refusals: dict[bytes, bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Pass one request on to an engine's socket, unless its first line holds what is refused."""

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
        target.close()

    head = await reader.readuntil(b"\r\n\r\n")
    line, _, rest = head.partition(b"\r\n")
    for part, why in refusals.items():
        if part in line:
            body = b'{"message": "%s"}' % why
            lines = (b"HTTP/1.1 500 no", b"Content-Type: application/json", b"Connection: close", b"", body)
            writer.write(b"\r\n".join(lines))
            writer.close()
            return
    from_engine, to_engine = await asyncio.open_unix_connection(engine)
    alone = b"" if b"upgrade" in rest.lower() else b"Connection: close\r\n"  # one request for each connection
    kept = rest.replace(b"Connection: keep-alive\r\n", alone) if b"keep-alive" in rest else alone + rest
    to_engine.write(line + b"\r\n" + kept)
    await asyncio.gather(copy(reader, to_engine), copy(from_engine, writer), return_exceptions=True)


async def test_what_cannot_be_forked_says_what_is_missing(
    backend: DockerBackend, docker_busybox: str, engine: docker.DockerClient, tmp_path: Path
) -> None:
    plain = await start(backend, docker_busybox, isolation="runc")
    with pytest.raises(ForkUnsupported, match="isolation runc has no forks: set isolation to gvisor"):
        await plain.fork(["a"])
    local = LocalBackend(tmp_path)
    here = await local.start(SandboxSpec(image="none"), owner=OWNER, lease="here")
    with pytest.raises(ForkUnsupported, match="use the Docker back end with isolation gvisor"):
        await here.fork(["a"])
    await here.close()
    able = await backend.api.call(lambda client: client.info())
    assert lacking(able) is None
    for change, fix in (
        ({"Runtimes": {}}, "make gvisor"),
        ({"ExperimentalBuild": False}, '"experimental": true in /etc/docker/daemon.json'),
        ({"DockerRootDir": f"{tmp_path}/none"}, f"{tmp_path}/none/containers cannot be written to: run the farm on"),
    ):
        assert fix in str(lacking({**able, **change}))
