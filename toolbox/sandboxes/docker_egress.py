"""The way out of a container with an allowlist: a network of its own, on which nothing stands but a proxy.

The network is internal, the engine's host has no address on it, and the proxy alone has a second one, to the world. So
nothing else can be reached, whatever the sandbox tries: no firewall rule of ours has to hold.
"""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import json
import random
import secrets
from collections.abc import Callable, Collection, Sequence
from typing import Any

import docker
import docker.errors
from docker.types import IPAMConfig, IPAMPool, LogConfig

from envfarm.toolbox.egress import proxy
from envfarm.toolbox.egress.config import EgressConfig, environment
from envfarm.toolbox.errors import BackendUnavailable, SandboxLost, SandboxStartError
from envfarm.toolbox.sandboxes.docker_client import DockerApi
from envfarm.toolbox.sandboxes.docker_stream import DockerStream, attach

EGRESS, EGRESS_OWNER = "envfarm.egress", "envfarm.egress.owner"
"""Labels: on a sandbox the name of its way out, which is the network's and the proxy's; on these two whose they are."""
NOWHERE = "192.0.2.1"
"""The name server of such a sandbox: an address kept for documentation, which nobody has."""
_RANGE = ipaddress.IPv4Network("198.18.0.0/15")  # kept for benchmarks of networks: nobody's real addresses
_PREFIX = 29
_TRIES = 8  # networks, whose addresses are drawn by lot, that may turn out to be taken
_START = 60.0
_PAUSE = 0.5  # seconds between two looks at an engine that is away


class Egress:
    """One sandbox's network and proxy; while it is watched, the proxy's death is told."""

    def __init__(self, api: DockerApi, name: str) -> None:
        self._api = api
        self.name = name
        self._stream: DockerStream | None = None
        self._ready: asyncio.Future[None] | None = None
        self._died: Callable[[SandboxLost], None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self.environment: dict[str, str] = {}

    @classmethod
    async def open(cls, api: DockerApi, hosts: Sequence[str], config: EgressConfig, owner: str) -> Egress:
        """Make one. A caller that is cancelled meanwhile leaves none. Raises SandboxStartError, ImageError."""
        made = cls(api, f"envfarm-egress-{secrets.token_hex(8)}")
        work = asyncio.get_running_loop().create_task(made._open(hosts, config, owner))
        try:
            await asyncio.shield(work)
        except BaseException as error:
            await asyncio.wait([work])
            await made.remove()
            if isinstance(error, SandboxLost):
                raise SandboxStartError(f"the egress proxy does not start: {error}") from None
            raise
        return made

    async def _open(self, hosts: Sequence[str], config: EgressConfig, owner: str) -> None:
        try:
            for text in hosts:
                proxy.Rule.parse(text)
        except ValueError as error:
            raise SandboxStartError(f"allowed_hosts: {error}") from None
        image = (await self._api.image(config.image))["Id"]
        public = await self._api.network()
        labels = {EGRESS_OWNER: owner}
        subnet = await self._api.call(lambda client: _network(client, self.name, labels))
        address = str(subnet[3])
        self.environment = environment(address)
        command = ["python3", "-I", "-c", inspect.getsource(proxy), address, json.dumps(list(hosts))]
        command.append(json.dumps([str(network) for network in config.private]))
        await self._api.call(
            lambda client: _proxy(client, self.name, image, command, (public, address), config.hosts, labels)
        )
        self._ready = asyncio.get_running_loop().create_future()
        await self._attach()
        await self._api.call(lambda client: client.api.start(self.name))
        try:
            async with asyncio.timeout(_START):
                await self._ready
        except TimeoutError:
            raise SandboxStartError(f"the egress proxy did not start in {_START:g} s", cause="slow") from None

    async def watch(self, died: Callable[[SandboxLost], None]) -> None:
        """Have its death told from now on. Raises SandboxLost, BackendUnavailable."""
        self._died = died
        if self._stream is None:
            await self._attach()

    async def _attach(self) -> None:
        api = self._api
        self._stream = await attach(api.url, self.name, self._heard, self._closed, tls=api.tls)

    def _heard(self, _stream: int, data: bytes) -> None:
        if self._ready is not None and not self._ready.done() and proxy.READY in data:
            self._ready.set_result(None)

    def _closed(self) -> None:
        """The stream ended: with the proxy, or with a stream of the engine's."""
        self._stream = None
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(SandboxLost("it ended at once", cause="egress"))
        elif self._died is not None:
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        while True:
            try:
                about = await self._api.call(lambda client: client.api.inspect_container(self.name))
                if about["State"]["Running"]:
                    await self._attach()
                    return
                error = SandboxLost(f"its egress proxy died (exit code {about['State']['ExitCode']})", cause="egress")
            except SandboxLost:
                error = SandboxLost("its egress proxy is gone", cause="egress")
            except BackendUnavailable:  # the sandbox's own stream finds out for how long
                await asyncio.sleep(_PAUSE)
                continue
            if self._died is not None:
                self._died(error)
            return

    def let_go(self) -> None:
        """Watch no more; network and proxy stay."""
        self._died = None
        if self._looking is not None:
            self._looking.cancel()
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    async def remove(self) -> None:
        """Remove both; never raises for what is gone already."""
        self.let_go()
        await self._api.remove(self.name)
        try:
            await self._api.call(lambda client: client.api.remove_network(self.name))
        except (SandboxLost, BackendUnavailable):
            return


async def sweep(api: DockerApi, owner: str, *, used: Collection[str]) -> None:
    """Remove what a farm that was killed left of an owner's ways out, but those in use. Raises SandboxError."""
    filters = {"label": f"{EGRESS_OWNER}={owner}"}
    proxies = await api.call(lambda client: client.api.containers(all=True, filters=filters))
    networks = await api.call(lambda client: client.api.networks(filters=filters))
    left = {one["Names"][0].lstrip("/") for one in proxies} | {one["Name"] for one in networks}
    await asyncio.gather(*(Egress(api, name).remove() for name in left - set(used)))


def _network(client: docker.DockerClient, name: str, labels: dict[str, str]) -> ipaddress.IPv4Network:
    """Make an internal network without an address of the host's, in a place that nobody else has."""
    options = {
        "com.docker.network.bridge.inhibit_ipv4": "true",  # engines before 27
        "com.docker.network.bridge.gateway_mode_ipv4": "isolated",  # since
    }
    for left in reversed(range(_TRIES)):
        place = random.randrange(_RANGE.num_addresses >> (32 - _PREFIX)) << (32 - _PREFIX)
        subnet = ipaddress.IPv4Network((int(_RANGE.network_address) + place, _PREFIX))
        ipam = IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet))])
        try:
            client.networks.create(name, driver="bridge", internal=True, options=options, ipam=ipam, labels=labels)
            return subnet
        except docker.errors.APIError as error:
            if not left or "overlaps" not in str(error):
                raise
    raise AssertionError


def _proxy(
    client: docker.DockerClient,
    name: str,
    image: str,
    command: list[str],
    places: tuple[str, str],
    hosts: dict[str, str],
    labels: dict[str, str],
) -> None:
    """Make the proxy, on the public network and at its address of the sandbox's."""
    api: Any = client.api
    host = api.create_host_config(
        network_mode=places[0],
        extra_hosts=hosts,
        mem_limit=128 << 20,
        memswap_limit=128 << 20,
        pids_limit=32,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        read_only=True,
        sysctls={"net.ipv4.ip_forward": "0"},  # it carries what it has read, and routes nothing
        log_config=LogConfig(type="local", config={"max-size": "1m", "max-file": "1", "compress": "false"}),
    )
    api.create_container(
        image, entrypoint=command[:1], command=command[1:], name=name, user="65534:65534", working_dir="/",
        detach=True, healthcheck={"test": ["NONE"]}, labels=labels, host_config=host,
    )  # fmt: skip
    api.connect_container_to_network(name, name, ipv4_address=places[1])
