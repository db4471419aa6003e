"""A stream that breaks while the pod lives: the command runs on, once, and its result is whole."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from kubernetes.aio import client

from envfarm.k8s import log
from envfarm.toolbox.errors import SandboxLost
from envfarm.toolbox.sandboxes.base import ExecResult
from envfarm.toolbox.sandboxes.shell import Shell

from ..conftest import Cluster
from .pods import NAME, Pods, PodSandbox
from .proxy import Proxy

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Job:
    """A command with much to print, and what that is."""

    command: str
    out: bytes
    err: bytes

    def check(self, result: ExecResult) -> None:
        assert (result.exit_code, result.truncated, result.timed_out) == (7, False, False)
        assert hashlib.md5(result.stdout).digest() == hashlib.md5(self.out).digest()
        assert result.stderr == self.err


def job(seed: int, size: int, parts: int = 20, pause: float = 0.05) -> Job:
    """Prints random bytes on both streams and adds a line to a file; no CR, which containerd's log may drop."""
    text = (
        f"import random, sys, time\nr = random.Random({seed})\nwhole = bytes(b for b in range(256) if b != 13)\n"
        "def part(n): return bytes(r.choices(whole, k=997)) * (n // 997)\n"
    )
    scope: dict[str, object] = {}
    exec(text, scope)
    part = scope["part"]
    assert callable(part)
    pieces = [(part(size // parts), part(2000)) for _ in range(parts)]
    loop = f"for _ in range({parts}):\n for s, n in ((sys.stdout, {size // parts}), (sys.stderr, 2000)):\n"
    loop += f"  s.buffer.write(part(n)); s.buffer.flush()\n time.sleep({pause})\n"
    command = f"echo once >>/tmp/job{seed}; python3 -c '{text}{loop}'; exit 7"
    return Job(command, b"".join(out for out, _ in pieces), b"".join(err for _, err in pieces))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(pods: Pods, proxy: Proxy) -> AsyncIterator[PodSandbox]:
    """A pod, reached by way of the proxy."""
    api = await pods.connect(proxy.url)
    started = await pods.start(api)
    yield started
    await started.close()
    await api.close()


async def once(sandbox: PodSandbox, path: str) -> None:
    assert (await sandbox.run(f"cat {path}")).stdout == b"once\n"


async def test_idle(sandbox: PodSandbox, proxy: Proxy) -> None:
    await sandbox.run("cd /usr; export KEPT=yes", session="idle")
    for _ in range(3):
        proxy.cut()
        result = await sandbox.run('echo "$PWD $KEPT"; echo err >&2; exit 3', session="idle")
        assert (result.exit_code, result.stdout, result.stderr) == (3, b"/usr yes\n", b"err\n")


@pytest.mark.parametrize("seed", range(8))
async def test_in_mid_output(sandbox: PodSandbox, proxy: Proxy, seed: int) -> None:
    chance = random.Random(seed)
    work = job(seed, chance.choice([3_000, 300_000, 3_000_000]))
    session = chance.choice([None, "output"])
    call = asyncio.create_task(sandbox.run(work.command, session=session, output_limit=1 << 26, timeout=120))
    for _ in range(chance.randint(1, 3)):
        await asyncio.sleep(chance.random())
        proxy.cut()
    work.check(await call)
    await once(sandbox, f"/tmp/job{seed}")


async def test_in_mid_output_of_20_mb(sandbox: PodSandbox, proxy: Proxy) -> None:
    work = job(20, 20_000_000, parts=40, pause=0.1)
    proxy.left["down"] = 9_000_000
    result = await sandbox.run(work.command, session="large", output_limit=1 << 26, timeout=120)
    assert not proxy.left  # it was cut
    if result.truncated:  # the kubelet began another log in that moment: it says so, and what is there is right
        for all_of_it, info in ((work.out, result.stdout_info), (work.err, result.stderr_info)):
            cut = len(info.data) if info.cut_at is None else info.cut_at
            assert all_of_it.startswith(info.data[:cut])
            assert all_of_it.endswith(info.data[cut:])
    else:
        work.check(result)
    await once(sandbox, "/tmp/job20")


@pytest.mark.parametrize("seed", range(4))
async def test_in_mid_input_of_10_mb(sandbox: PodSandbox, proxy: Proxy, seed: int) -> None:
    chance = random.Random(seed)
    data = chance.randbytes(10_000_000)
    proxy.left["up"] = chance.randrange(100, 9_900_000)
    command = f"echo once >>/tmp/input{seed}; md5sum"
    result = await sandbox.run(command, stdin=data, session="input", timeout=120)
    assert not proxy.left
    assert result.stdout.split()[0].decode() == hashlib.md5(data).hexdigest()
    await once(sandbox, f"/tmp/input{seed}")


@pytest.mark.parametrize("seed", range(10))
async def test_between_a_command_and_its_beginning(sandbox: PodSandbox, proxy: Proxy, seed: int) -> None:
    """Cut after so many bytes in either direction: the frame goes, in part or as a whole, or its answer comes."""
    chance = random.Random(seed)
    proxy.left[chance.choice(["up", "down"])] = chance.randrange(1, 400)
    command = f"echo once >>/tmp/begin{seed}; echo {seed}; exit 5"
    result = await sandbox.run(command, session=chance.choice([None, "begin"]))
    proxy.left.clear()
    assert (result.exit_code, result.stdout) == (5, b"%d\n" % seed)
    await once(sandbox, f"/tmp/begin{seed}")


@pytest.mark.parametrize("seed", range(4))
async def test_files(sandbox: PodSandbox, proxy: Proxy, seed: int) -> None:
    chance = random.Random(seed)
    data = chance.randbytes(3_000_000)
    proxy.left["up"] = chance.randrange(100, 3_000_000)
    await sandbox.write("/tmp/file", data)
    proxy.left.clear()
    proxy.left["down"] = chance.randrange(100, 3_000_000)
    assert await sandbox.read("/tmp/file") == data
    proxy.left.clear()


async def test_a_command_that_ends_while_the_server_is_away(sandbox: PodSandbox, proxy: Proxy) -> None:
    call = asyncio.create_task(sandbox.run("echo once >>/tmp/away; sleep 3; echo end; exit 4", timeout=6))
    await asyncio.sleep(2)  # it has begun, on a busy machine too
    async with proxy.outage():
        await asyncio.sleep(8)  # longer than the command's own time
    result = await call
    assert (result.exit_code, result.stdout, result.timed_out) == (4, b"end\n", False)
    await once(sandbox, "/tmp/away")


async def test_a_command_whose_time_is_up_while_the_server_is_away(sandbox: PodSandbox, proxy: Proxy) -> None:
    call = asyncio.create_task(sandbox.run("echo begun; sleep 1000", timeout=1, session="late"))
    await asyncio.sleep(0.5)
    async with proxy.outage():
        await asyncio.sleep(2)
    result = await call
    assert (result.exit_code, result.stdout, result.timed_out) == (None, b"begun\n", True)
    assert (await sandbox.run("echo well", session="late")).stdout == b"well\n"


async def test_a_command_that_never_arrived_has_all_its_time(sandbox: PodSandbox, proxy: Proxy) -> None:
    await sandbox.run("true", session="unheard")
    proxy.stall()
    call = asyncio.create_task(
        sandbox.run("echo once >>/tmp/unheard; sleep 1; echo end; exit 4", session="unheard", timeout=3)
    )
    await asyncio.sleep(0.5)
    async with proxy.outage():
        proxy.go_on()
        await asyncio.sleep(4)  # longer than the command's own time
    result = await call
    assert (result.exit_code, result.stdout, result.timed_out) == (4, b"end\n", False)
    await once(sandbox, "/tmp/unheard")


async def test_frames_that_come_late_are_not_run(sandbox: PodSandbox, proxy: Proxy) -> None:
    """A stream breaks, another one takes its place, and then the rest of the first arrives after all."""
    await sandbox.run("true")
    shell = sandbox.shell
    late = [shell.frame("run", shell.token(), b"echo late >>/tmp/late\n"), shell.frame("kill", shell.token())]
    proxy.cut()
    call = asyncio.create_task(sandbox.run("sleep 2; cat /tmp/late; echo end"))
    await asyncio.sleep(1)
    await shell.steady()
    assert shell.wire is not None
    shell.wire.write(b"".join(late))
    assert (await call).stdout == b"end\n"


async def test_a_peer_that_says_nothing(pods: Pods, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envfarm.k8s.attach.PING", 0.5)
    api = await pods.connect(proxy.url)
    sandbox = await pods.start(api)
    work = job(40, 30_000)
    call = asyncio.create_task(sandbox.run(work.command, output_limit=1 << 26))
    await asyncio.sleep(0.3)
    proxy.stall()
    await sandbox.shell._broke
    proxy.cut()
    proxy.go_on()
    work.check(await call)
    await sandbox.close()
    await api.close()


async def test_an_api_server_that_is_killed(pods: Pods, cluster: Cluster) -> None:
    if "apiserver" not in cluster.programs:
        pytest.skip("this cluster's API server is not ours to kill")
    sandbox = await pods.start()
    work = job(50, 200_000, pause=0.2)
    call = asyncio.create_task(sandbox.run(work.command, session="killed", output_limit=1 << 26, timeout=120))
    await asyncio.sleep(1)
    await asyncio.to_thread(cluster.kill, "apiserver")
    await asyncio.sleep(1)
    await asyncio.to_thread(cluster.start, "apiserver")
    work.check(await call)
    assert sandbox.shell.outages > 0
    await once(sandbox, "/tmp/job50")
    await sandbox.close()


async def test_a_pod_that_goes_while_the_server_is_away(pods: Pods, proxy: Proxy) -> None:
    api = await pods.connect(proxy.url)
    sandbox = await pods.start(api)
    call = asyncio.create_task(sandbox.run("sleep 1000", timeout=2000))
    await asyncio.sleep(0.3)
    async with proxy.outage():
        await client.CoreV1Api(pods.api).delete_namespaced_pod(sandbox.id, pods.namespace, grace_period_seconds=0)
        await asyncio.sleep(1)
    with pytest.raises(SandboxLost) as lost:
        await call
    assert lost.value.cause in ("removed", "killed")
    await api.close()


async def test_a_server_that_stays_away(pods: Pods, proxy: Proxy) -> None:
    api = await pods.connect(proxy.url)
    sandbox = await pods.start(api)
    sandbox.patience = 1.0
    call = asyncio.create_task(sandbox.run("sleep 1000", timeout=2000))
    await asyncio.sleep(0.3)
    async with proxy.outage():
        with pytest.raises(SandboxLost) as lost:
            await call
    assert lost.value.cause == "engine"
    await api.close()


async def test_a_log_with_both_streams_in_one(
    sandbox: PodSandbox, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What most servers have: nothing is lost and nothing comes twice, but stderr stands in stdout."""

    async def merged() -> dict[int, bytes]:
        whole = await log._read(sandbox.api, sandbox.namespace, sandbox.id, NAME, None)
        return {1: whole or b""}

    monkeypatch.setattr(sandbox, "history", merged)
    command = "for i in $(seq 20); do echo out $i; echo err $i >&2; sleep 0.05; done; exit 7"
    call = asyncio.create_task(sandbox.run(command, session="merged"))
    await asyncio.sleep(0.6)
    proxy.cut()
    result = await call
    lines = result.stdout.splitlines() + result.stderr.splitlines()
    assert result.exit_code == 7
    assert sorted(lines) == sorted(b"%s %d" % (name, i) for name in (b"out", b"err") for i in range(1, 21))
    assert [line for line in lines if line.startswith(b"out")] == [b"out %d" % i for i in range(1, 21)]
    proxy.left["down"] = 100_000
    await sandbox.write("/tmp/merged", b"\0\r\n" * 100_000)
    assert await sandbox.read("/tmp/merged") == b"\0\r\n" * 100_000
    assert not proxy.left


async def test_a_second_farm(pods: Pods) -> None:
    """It takes the sandbox while the first one's stream is still there, and gets the running command's result."""
    sandbox = await pods.start()
    work = job(60, 100_000)
    call = asyncio.create_task(
        sandbox.run(work.command, session="second", command_id="job", output_limit=1 << 26, timeout=60)
    )
    await asyncio.sleep(0.5)
    second = PodSandbox(pods.api, pods.namespace, sandbox.id, Shell("secret"))
    second.shell.hold()
    second.shell.wire = await second.stream()
    await second.resume(second.history)
    result = await second.recover("job", timeout=60)
    assert result is not None
    work.check(result)
    assert (await second.run("echo second", session="second")).stdout == b"second\n"
    await once(second, "/tmp/job60")
    with contextlib.suppress(SandboxLost):
        work.check(await call)
    await second.detach()
    await sandbox.close()
