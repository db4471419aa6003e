"""Conformance: a sandbox that dies is `SandboxLost` with its cause, and a restarted farm takes the living ones back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import docker
import pytest

from envfarm.toolbox.errors import BackendUnavailable, ImageError, SandboxLost, SandboxSilent, SandboxStartError
from envfarm.toolbox.sandboxes import supervisor
from envfarm.toolbox.sandboxes.base import Limits, Sandbox, SandboxSpec
from envfarm.toolbox.sandboxes.docker import LEASE, SECRET, SPEC, DockerBackend
from envfarm.toolbox.sandboxes.docker import OWNER as OWNER_LABEL
from envfarm.toolbox.sandboxes.local import LocalBackend

from ...conftest import Engine
from .conftest import OWNER, Start, Variant

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def lost(sandbox: Sandbox, call: asyncio.Task[object]) -> SandboxLost:
    """The error that a running call and every later one raise."""
    with pytest.raises(SandboxLost) as running:
        await call
    with pytest.raises(SandboxLost) as later:
        await sandbox.run("true")
    assert running.value.cause == later.value.cause
    with pytest.raises(SandboxLost):
        await sandbox.read("/etc/passwd")
    known = await sandbox.lost()
    assert known is not None
    assert known.cause == running.value.cause
    await sandbox.close()
    await sandbox.close()
    return running.value


@pytest.mark.parametrize(("how", "cause"), [("kill", "killed"), ("remove", "removed"), ("stop", "killed")])
async def test_a_container_that_goes_away(
    engines: Variant, start: Start, engine: docker.DockerClient, how: str, cause: str
) -> None:
    sandbox = await start()
    call = asyncio.create_task(sandbox.run("sleep 100"))
    await asyncio.sleep(0.5)
    container = engine.containers.get(sandbox.id)
    ways = {
        "kill": container.kill,
        "remove": lambda: container.remove(force=True),
        "stop": lambda: container.stop(timeout=0),
    }
    await asyncio.to_thread(ways[how])
    assert (await lost(sandbox, call)).cause == cause


async def test_running_out_of_memory(isolated: Variant, start: Start) -> None:
    sandbox = await start(limits=Limits(memory_mb=64, pids=64))
    try:
        result = await sandbox.run("x=a; while :; do x=$x$x; done", timeout=60)
    except SandboxLost as error:
        lost_to = error.cause
    else:  # only the command was killed
        assert result.exit_code not in (0, None)
        assert (await sandbox.run("echo alive")).stdout == b"alive\n"
        assert await sandbox.lost() is None
        return
    assert (lost_to, isolated.spec.isolation) == ("oom", "gvisor")  # whose kernel is one process more to choose from


async def test_the_main_process_out_of_memory(isolated: Variant, start: Start) -> None:
    if isolated.spec.isolation == "gvisor":
        pytest.skip("gVisor does not start in so little, and its own end is the test above")
    sandbox = await start(limits=Limits(memory_mb=16, pids=64))
    with pytest.raises(SandboxLost) as error:
        await sandbox.run("#" * (15 << 20), timeout=60)  # the main process holds a command before it passes it on
    assert error.value.cause == "oom"


@pytest.fixture
def private_engine(start_engine: Callable[..., Engine], docker_busybox: str) -> Engine:
    """A second engine, so that killing it touches nothing else."""
    return start_engine(docker_busybox)


async def test_an_engine_that_is_killed_in_mid_command(private_engine: Engine, docker_busybox: str) -> None:
    backend = DockerBackend(private_engine.url)
    sandbox = await backend.start(SandboxSpec(image=docker_busybox), owner=OWNER, lease="engine")
    call = asyncio.create_task(sandbox.run("sleep 100"))
    await asyncio.sleep(0.3)
    await asyncio.to_thread(private_engine.kill)
    assert (await lost(sandbox, call)).cause == "engine"
    with pytest.raises(SandboxLost) as error:
        await backend.attach(sandbox.id)
    assert error.value.cause == "engine"
    await backend.close()


async def test_gvisor_lets_root_end_its_own_sandbox(isolated: Variant, start: Start) -> None:
    if isolated.spec.isolation != "gvisor":
        pytest.skip("elsewhere process 1 cannot be killed from inside (test_sessions)")
    sandbox = await start()
    call = asyncio.create_task(sandbox.run("kill -9 1; sleep 100"))
    assert (await lost(sandbox, call)).cause == "killed"


async def test_a_main_process_whose_input_is_stolen_is_silent(
    isolated: Variant, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "ANSWER", 3.0)
    sandbox = await start()

    async def steal() -> None:
        thief = "while :; do cat; done </proc/1/fd/0 >/dev/null 2>&1 &"
        await sandbox.run(f"{thief * 8} sleep 0.2", timeout=5)
        for _ in range(20):
            await sandbox.run("true", timeout=5)

    with pytest.raises(SandboxSilent):
        await steal()


async def test_a_farm_that_starts_again_takes_its_sandboxes_back(isolated: Variant, start: Start) -> None:
    sandbox = await start()
    await sandbox.run("cd /tmp; export KEPT=5; sleep 1000 &", session="agent", command_id="one")
    running = asyncio.create_task(
        sandbox.run(
            "echo begun; printf 'a\\000\\377\\r\\n' >&2; sleep 2; echo end; exit 5", session="agent", command_id="two"
        )
    )
    await asyncio.sleep(0.7)
    await sandbox.detach()
    with pytest.raises(SandboxLost):
        await running
    again = isolated.another()
    second = await again.attach(sandbox.id)
    assert second.spec == sandbox.spec
    assert await second.recover("unknown", timeout=10) is None
    result = await second.recover("two", timeout=30)
    assert result is not None
    ending = b"\r\n" if isolated.keeps_cr else b"\n"
    assert (result.exit_code, result.stdout, result.stderr) == (5, b"begun\nend\n", b"a\0\xff" + ending)
    repeated = await second.run("echo this is not run", session="agent", command_id="two")
    assert repeated.stdout == b"begun\nend\n"
    assert (await second.run("pwd; echo $KEPT", session="agent")).stdout == b"/tmp\n5\n"
    assert await second.processes()
    await second.detach()
    await again.close()


async def test_a_command_that_ended_while_no_farm_ran(isolated: Variant, start: Start) -> None:
    sandbox = await start()
    script = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; sleep 0.5; exit 9"
    running = asyncio.create_task(sandbox.run(script, command_id="three", output_limit=100))
    await asyncio.sleep(0.1)
    await sandbox.detach()
    with pytest.raises(SandboxLost):
        await running
    await asyncio.sleep(2)
    again = isolated.another()
    second = await again.attach(sandbox.id)
    helper = await second.recover("three", timeout=10, output_limit=1 << 20)
    assert helper is not None
    assert (helper.exit_code, helper.stdout) == (9, b"".join(b"line %d\n" % i for i in range(2000)))
    await second.run("echo a helper without an id")
    await second.detach()
    third = await again.attach(sandbox.id)
    assert (await third.recover("three", timeout=10, output_limit=50)).stdout == b"line 0\nline 1\nline 2\nline" + (
        b"".join(b"line %d\n" % i for i in range(1990, 2000))[-25:]
    )  # fmt: skip
    await third.detach()
    await again.close()


async def test_what_the_last_command_left_running_lives_on_after_a_restart(isolated: Variant, start: Start) -> None:
    sandbox = await start()
    await sandbox.run("kept=1; sleep 1000 &", session="agent", command_id="last")
    await sandbox.detach()
    again = isolated.another()
    second = await again.attach(sandbox.id)
    assert (await second.run("echo $kept; kill -0 $!", session="agent", command_id="next")).exit_code == 0
    await second.detach()
    await again.close()


async def test_a_dead_sandbox_cannot_be_attached(engines: Variant, start: Start, engine: docker.DockerClient) -> None:
    sandbox = await start()
    await sandbox.detach()
    await asyncio.to_thread(engine.containers.get(sandbox.id).kill)
    with pytest.raises(SandboxLost) as error:
        await engines.backend.attach(sandbox.id)
    assert error.value.cause == "killed"
    await sandbox.close()
    with pytest.raises(SandboxLost) as error:
        await engines.backend.attach(sandbox.id)
    assert error.value.cause == "removed"


async def test_what_nobody_claims_is_reaped(variant: Variant, start: Start) -> None:
    kept, orphan = await start(), await start()
    found = {one.id: one for one in await variant.backend.find(OWNER)}
    assert {kept.id, orphan.id} <= set(found)
    assert found[kept.id].running
    assert found[kept.id].lease == "own"
    assert abs(found[kept.id].created - time.time()) < 300
    others = set(found) - {orphan.id}
    assert await variant.backend.reap(OWNER, keep=others) == [orphan.id]
    assert orphan.id not in {one.id for one in await variant.backend.find(OWNER)}
    assert (await kept.run("echo kept")).stdout == b"kept\n"
    with pytest.raises(SandboxLost):
        await orphan.run("true")
    assert await variant.backend.find("somebody-else") == []


async def test_a_start_that_is_given_up_leaves_nothing(variant: Variant) -> None:
    owner = f"{OWNER}-given-up"
    for tenths in range(5):
        start = asyncio.create_task(variant.backend.start(variant.spec, owner=owner, lease="x"))
        await asyncio.sleep(0.02 + tenths / 10)
        start.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await (await start).close()
    assert await variant.backend.find(owner) == []


async def test_labels_name_owner_and_lease(engines: Variant, start: Start, engine: docker.DockerClient) -> None:
    sandbox = await start()
    assert engine.containers.get(sandbox.id).labels[LEASE] == "own"


async def test_an_image_that_is_not_there(isolated: Variant) -> None:
    spec = isolated.spec.model_copy(update={"image": f"{isolated.registry}envfarm/no-such-image:0"})
    with pytest.raises(ImageError, match="no-such-image"):
        await isolated.backend.start(spec, owner=OWNER, lease="none")
    await isolated.backend.close()


async def test_what_cannot_be_offered_is_refused(variant: Variant) -> None:
    if isinstance(variant.backend, LocalBackend):
        bad = variant.spec.model_copy(update={"isolation": "gvisor"})
    else:
        bad = variant.spec.model_copy(update={"network": "allowlist", "allowed_hosts": ("10.0.0.1",)})
    with pytest.raises(SandboxStartError):
        await variant.backend.start(bad, owner=OWNER, lease="none")
    await variant.backend.close()


async def test_no_engine(tmp_path: Path) -> None:
    backend = DockerBackend(f"unix://{tmp_path}/none.sock")
    with pytest.raises(BackendUnavailable, match=r"none\.sock.*docker_url"):
        await backend.start(SandboxSpec(image="x"), owner=OWNER, lease="none")
    await backend.close()


@pytest.mark.parametrize(
    "answers",
    [
        "printf '\\036ef:%s:h:garbage\\n' $3; printf '\\036ef:%s:h:garbage\\n' $3 >&2",
        "printf '\\036ef:%s:h:bash:-:- x\\n' $3; printf '\\036ef:%s:h:bash:-:- x\\n' $3 >&2",
        "exit 1",
    ],
)
async def test_a_main_process_that_lies_is_a_lost_sandbox(
    engine: docker.DockerClient, docker_busybox: str, answers: str
) -> None:
    liar = engine.containers.create(
        docker_busybox,
        ["sh", "-c", f"while read -r h; do set -- $h; {answers}; done"],
        stdin_open=True,
        detach=True,
        network_mode="none",
        labels={OWNER_LABEL: OWNER, SECRET: "s", SPEC: SandboxSpec(image=docker_busybox).model_dump_json()},
    )
    backend = DockerBackend()
    try:
        liar.start()
        with pytest.raises(SandboxLost):
            await backend.attach(str(liar.id))
    finally:
        liar.remove(force=True)
        await backend.close()


@pytest.mark.parametrize("labels", [{}, {"envfarm.spec": "{"}, {"envfarm.spec": '{"image": "x"}'}])
async def test_a_container_that_is_none_of_ours_is_a_lost_sandbox(
    engine: docker.DockerClient, docker_busybox: str, labels: dict[str, str]
) -> None:
    other = engine.containers.run(docker_busybox, ["sleep", "100"], detach=True, network_mode="none", labels=labels)
    backend = DockerBackend()
    try:
        with pytest.raises(SandboxLost):
            await backend.attach(str(other.id))
    finally:
        other.remove(force=True)
        await backend.close()


async def test_an_engine_behind_tls(tmp_path: Path, docker_busybox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "-newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    make = await asyncio.create_subprocess_shell(
        f"openssl req -x509 {words} -keyout key.pem -out cert.pem 2>/dev/null", cwd=tmp_path
    )
    assert await make.wait() == 0
    (tmp_path / "ca.pem").write_bytes((tmp_path / "cert.pem").read_bytes())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "ca.pem"))
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_unix_connection("/var/run/docker.sock")
        await asyncio.gather(copy(reader, outer), copy(inner, writer))

    server = await asyncio.start_server(serve, "localhost", 0, ssl=context, family=socket.AF_INET)
    monkeypatch.setenv("DOCKER_HOST", f"tcp://localhost:{server.sockets[0].getsockname()[1]}")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # requests prefers them to what the docker package names
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    backend = DockerBackend()
    sandbox = await backend.start(SandboxSpec(image=docker_busybox), owner=OWNER, lease="tls")
    assert (await sandbox.run("echo over tls", session="a")).stdout == b"over tls\n"
    await sandbox.close()
    await backend.close()
    server.close()
