"""How the container of a sandbox is made: its main process, its limits, and what it may not do."""

from __future__ import annotations

from typing import Any

import docker
from docker.types import LogConfig

from envfarm.toolbox.sandboxes import scripts
from envfarm.toolbox.sandboxes.base import SandboxSpec
from envfarm.toolbox.sandboxes.docker_egress import NOWHERE

CAPABILITIES = (
    "CHOWN",  # package managers, put_tree
    "DAC_OVERRIDE",  # what root in a container is expected to do
    "FOWNER",
    "FSETID",
    "KILL",  # the supervisor kills what another user runs
    "SETGID",
    "SETUID",
    "SYS_CHROOT",  # chroot --userspec, sshd, package builds
    "NET_BIND_SERVICE",
)
"""What a container keeps of Docker's default capabilities: no raw sockets, device nodes, audit or file capabilities."""
RUNTIMES = {"runc": None, "gvisor": "runsc"}
MAIN = (
    'if command -v bash >/dev/null 2>&1; then exec bash --norc --noprofile -c \'eval "$ENVFARM"\' "$0" "$1"; fi; '
    'eval "$ENVFARM"'
)


def create(
    client: docker.DockerClient,
    spec: SandboxSpec,
    image: str,
    hello: str,
    network: str,
    labels: dict[str, str],
    proxies: dict[str, str],
    *,
    limit_disk: bool,
) -> str:
    """Make a container of an image, not started, whose main process is the held shell; its id.

    Raises APIError.
    """
    limits = spec.limits
    api = client.api
    options: dict[str, Any] = {"dns": [NOWHERE]} if proxies else {}
    if (runtime := RUNTIMES[spec.isolation]) is not None:
        options["runtime"] = runtime
    if limits.gpus:
        options["device_requests"] = [docker.types.DeviceRequest(count=limits.gpus, capabilities=[["gpu"]])]
    if limits.disk_mb is not None and limit_disk:
        options["storage_opt"] = {"size": f"{limits.disk_mb}m"}
    host = api.create_host_config(
        network_mode=network,
        mem_limit=limits.memory_mb << 20,
        memswap_limit=limits.memory_mb << 20,
        nano_cpus=int(limits.cpus * 1e9),
        pids_limit=limits.pids,
        cap_drop=["ALL"],
        cap_add=list(CAPABILITIES),
        security_opt=["no-new-privileges"],
        log_config=LogConfig(type="local", config={"max-size": "8m", "max-file": "2", "compress": "false"}),
        **options,
    )
    made = api.create_container(
        image,
        entrypoint=["/bin/sh", "-c", MAIN, "envfarm", hello],
        command=[],
        environment=dict(spec.env) | proxies | {"ENVFARM": scripts.program("supervisor.sh")},
        user="0",
        working_dir="/",
        stdin_open=True,
        detach=True,  # else the engine closes standard input when the farm lets go
        tty=False,
        hostname="sandbox",
        healthcheck={"test": ["NONE"]},
        labels=labels,
        host_config=host,
    )
    return str(made["Id"])
