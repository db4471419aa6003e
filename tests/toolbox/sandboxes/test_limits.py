"""Conformance: limits, users, privileges, network, the image's own entrypoint."""

from __future__ import annotations

import asyncio

import docker
import pytest

from envfarm.toolbox.sandboxes.base import Limits, Sandbox
from envfarm.toolbox.sandboxes.docker_client import NETWORK

from .conftest import Start, Variant

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_engine_enforces_the_limits(engines: Variant, start: Start, engine: docker.DockerClient) -> None:
    sandbox = await start(limits=Limits(cpus=0.5, memory_mb=300, pids=99))
    host = engine.containers.get(sandbox.id).attrs["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"]) == (500_000_000, 300 << 20, 300 << 20)
    assert host["PidsLimit"] == 99
    assert host["NetworkMode"] == "none"
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges" in host["SecurityOpt"]
    assert not host["Privileged"]


async def test_a_disk_limit_is_asked_for_where_the_driver_can(isolated: Variant, start: Start) -> None:
    sandbox = await start(limits=Limits(cpus=1, memory_mb=256, pids=64, disk_mb=500))
    assert (await sandbox.run("echo started")).stdout == b"started\n"


async def test_there_is_no_network_unless_asked(isolated: Variant, sandbox: Sandbox) -> None:
    interfaces = await sandbox.run("cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' ' | grep -v '^lo$'")
    assert interfaces.stdout == isolated.links
    assert (await sandbox.run("tail -n +2 /proc/net/route")).stdout == b""
    if isolated.bash:
        connect = "exec 3<>/dev/tcp/1.1.1.1/53 || exec 3<>/dev/tcp/172.17.0.1/22 || getent hosts example.org"
        assert (await sandbox.run(connect, timeout=20)).exit_code != 0


async def test_public_sandboxes_do_not_reach_each_other(
    engines: Variant, start: Start, engine: docker.DockerClient
) -> None:
    if not engines.bash:
        pytest.skip("only bash has /dev/tcp to connect with")
    server, client = await start(network="public"), await start(network="public")
    assert (await client.run("cut -d: -f1 /proc/net/dev")).stdout.count(b"eth0") == 1
    await server.run("python3 -m http.server 8000 --directory /tmp >/dev/null 2>&1 &")
    own = "for i in $(seq 50); do (exec 3<>/dev/tcp/127.0.0.1/8000) 2>/dev/null && echo up && break; sleep 0.1; done"
    assert (await server.run(own)).stdout == b"up\n"
    place = engine.containers.get(server.id).attrs["NetworkSettings"]["Networks"][NETWORK]
    address, network = place["IPAddress"], engine.networks.get(place["NetworkID"])
    assert network.attrs["Options"]["com.docker.network.bridge.enable_icc"] == "false"
    reached = await client.run(f"exec 3<>/dev/tcp/{address}/8000", timeout=2)
    assert reached.timed_out or reached.exit_code != 0


async def test_privileges_are_few(isolated: Variant, sandbox: Sandbox) -> None:
    status = (await sandbox.run("grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status")).stdout.decode()
    bounding = int(status.split("CapBnd:")[1].split()[0], 16)
    names = {
        0: "CHOWN",
        1: "DAC_OVERRIDE",
        3: "FOWNER",
        4: "FSETID",
        5: "KILL",
        6: "SETGID",
        7: "SETUID",
        10: "BIND",
        18: "CHROOT",
    }
    assert bounding == sum(1 << bit for bit in names)
    if isolated.spec.isolation == "runc":  # gVisor shows neither, and has its own
        assert "NoNewPrivs:\t1" in status
        assert "Seccomp:\t2" in status
    assert (await sandbox.run("mount -t tmpfs none /mnt || mknod /tmp/null c 1 3")).exit_code != 0


@pytest.mark.parametrize("user", ["nobody", "65534", "65534:65534", "nobody:root"])
async def test_commands_as_another_user(isolated: Variant, sandbox: Sandbox, session: str, user: str) -> None:
    if isolated.busybox and user[0].isdigit() and user != "65534":
        pytest.skip("busybox has only su, which takes the groups of the user")
    group = b"0" if user.endswith("root") and not isolated.busybox else b"65534"
    for where in (None, session):
        result = await sandbox.run('id -u; id -g; echo "$HOME"; echo "it\'s $1"', user=user, session=where)
        assert result.stdout.splitlines()[:2] == [b"65534", group], result.stderr
    assert (await sandbox.run("id -u", session=session)).stdout == b"65534\n"
    assert (await sandbox.run("id -u")).stdout == b"0\n"
    timed = await sandbox.run("sleep 1000 & sleep 1000", user=user, timeout=0.5)
    assert timed.timed_out
    assert await sandbox.processes() == []
    assert (await sandbox.run("cd /tmp; exit 3", session=session)).exit_code == 3
    assert (await sandbox.run("pwd; id -u", session=session)).stdout == b"/tmp\n65534\n"
    assert (await sandbox.run("wc -c", user=user, stdin=b"x" * 100_000)).stdout.strip() == b"100000"


async def test_an_unknown_user(isolated: Variant, sandbox: Sandbox) -> None:
    result = await sandbox.run("echo ran", user="no-such-user")
    assert (result.exit_code, result.stdout) == (126, b"")
    assert b"no such user: no-such-user" in result.stderr
    assert (await sandbox.run("echo fine")).stdout == b"fine\n"


async def test_the_specification_names_user_directory_and_environment(isolated: Variant, start: Start) -> None:
    sandbox = await start(user="nobody", workdir="/dev", env=(("A", "it's\n1"), ("LC_ALL", "C.UTF-8")))
    result = await sandbox.run('id -u; pwd; echo "$A $LC_ALL"')
    assert result.stdout == b"65534\n/dev\nit's\n1 C.UTF-8\n"
    assert (await sandbox.run("id -u", user="root")).stdout == b"0\n"


async def test_the_images_entrypoint_runs_as_a_child(
    isolated: Variant, start: Start, engine: docker.DockerClient
) -> None:
    parent = engine.containers.create(isolated.spec.image.removeprefix(isolated.registry), ["true"])
    words = '["/bin/sh", "-c", "echo service in $PWD $X > /tmp/started; exec sleep 1000"]'
    image = parent.commit("envfarm-tests/entrypoint", "1", changes=[f"ENTRYPOINT {words}", "WORKDIR /dev", "ENV X=y"])
    parent.remove()
    name = f"{isolated.registry}envfarm-tests/entrypoint:1"
    if isolated.registry:
        image.tag(name)
        await asyncio.to_thread(engine.images.push, name)
    try:
        sandbox = await start(image=name)
        for _ in range(100):
            if (await sandbox.run("cat /tmp/started")).stdout:
                break
            await asyncio.sleep(0.1)
        assert len(await sandbox.processes()) == 1
        assert (await sandbox.run("cat /tmp/started; pwd")).stdout == b"service in /dev y\n/dev\n"
        quiet = await start(image=name, entrypoint=False)
        assert await quiet.processes() == []
        await sandbox.close()
        await quiet.close()
    finally:
        engine.images.remove(image.id, force=True)
