"""What Harbor's task.toml says about sandboxes, as ours: image, user, network, limits, environment, health."""

from __future__ import annotations

import asyncio

from envfarm.tasks.spec import EnvironmentTable, Healthcheck, Task
from envfarm.toolbox.errors import SandboxStartError
from envfarm.toolbox.sandboxes.base import Limits, Network, Sandbox, SandboxSpec
from envfarm.toolbox.tools.base import SESSION

_MODES: dict[str, Network] = {"public": "public", "no-network": "none", "allowlist": "allowlist"}


def agent_spec(task: Task, image: str, *, setup: str = "") -> SandboxSpec:
    """The sandbox that an agent works in; `setup` is run in it as root before anybody gets it."""
    config = task.config
    mode, hosts = network(config.agent, config.environment)
    user = config.agent.user
    return SandboxSpec(
        image=image,
        isolation=config.envfarm.isolation or "runc",
        network=mode,
        allowed_hosts=hosts,
        limits=limits(config.environment),
        user=None if user is None else str(user),
        workdir=config.environment.workdir,
        env=tuple(sorted(config.environment.env.items())),
        setup=setup,
        session=SESSION,
    )


def verifier_spec(task: Task, image: str) -> SandboxSpec:
    """The sandbox that a task's tests run in, as root unless they ask for another user."""
    config = task.config
    table = config.verifier.environment or config.environment
    mode, hosts = network(config.verifier, *([table] if config.verifier.separate else []))
    return SandboxSpec(
        image=image,
        isolation=config.envfarm.isolation or "runc",
        network=mode,
        allowed_hosts=hosts,
        limits=limits(table),
        user="root",
        workdir=table.workdir,
        env=tuple(sorted(table.env.items())),
        entrypoint=False,  # Harbor replaces the image's command as well; here the agent's files must not be run by it
    )


def network(*tables: object) -> tuple[Network, tuple[str, ...]]:
    """The network of the first table that says something about it; `none` where none does.

    Harbor's own default is `public`: a farm's sandboxes reach nothing unless their task asks for it.
    """
    for table in tables:
        mode = getattr(table, "network_mode", None)
        if mode is not None:
            return _MODES[mode], tuple(getattr(table, "allowed_hosts", ())) if mode == "allowlist" else ()
        allowed = getattr(table, "allow_internet", None)
        if allowed is not None:
            return ("public" if allowed else "none"), ()
    return "none", ()


def limits(table: EnvironmentTable) -> Limits:
    """Harbor's limits as ours."""
    return Limits(
        cpus=table.cpus,
        memory_mb=max(table.memory_mb, 16),
        disk_mb=table.storage_mb,
        gpus=table.gpus,
    )


async def wait_healthy(sandbox: Sandbox, check: Healthcheck) -> None:
    """Wait until a task's health check passes. Raises SandboxStartError.

    As Docker's HEALTHCHECK: failures in the start period do not count, `retries` in a row after it are too many.
    """
    loop = asyncio.get_running_loop()
    started, failures = loop.time(), 0
    while True:
        result = await sandbox.run(check.command, timeout=check.timeout_sec)
        if result.exit_code == 0:
            return
        starting = loop.time() - started < check.start_period_sec
        failures += not starting
        if failures >= max(check.retries, 1):
            said = (result.stderr or result.stdout).decode("utf-8", "replace").strip()[-300:]
            raise SandboxStartError(f"the task's health check failed {failures} times in a row; the last said: {said}")
        await asyncio.sleep(check.start_interval_sec if starting else check.interval_sec)
