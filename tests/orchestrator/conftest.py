"""A farm on the simulated back end, with a toy environment that scores the file /mark."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from envfarm.envs.base import NO_SERVICES, Images, Message, Reward, ScoreContext, Services
from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.farm.farm import Farm
from envfarm.orchestrator.settings import Settings
from envfarm.orchestrator.store.store import Store
from envfarm.orchestrator.wire import farm_settings
from envfarm.tasks.registry import Registry
from envfarm.tasks.spec import Task
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.sandboxes.base import Sandbox, SandboxSpec
from envfarm.toolbox.sandboxes.simulated import SimulatedBackend
from envfarm.toolbox.toolbox import Toolbox
from envfarm.toolbox.tools.base import Tool
from envfarm.toolbox.tools.bash import Bash
from envfarm.toolbox.tools.finish import Finish


class ToyEnvironment:
    """Two real tools; the reward is the number in /mark, 0 without one. Scoring errors are raised from `faults`."""

    kind = "toy"
    faults: ClassVar[list[Exception]] = []
    scored: ClassVar[int] = 0

    def check(self, task: Task, services: Services) -> None:
        """It needs none."""

    def tools(self, task: Task) -> list[Tool]:
        return [Bash(), Finish()]

    def messages(self, task: Task) -> list[Message]:
        return [Message(role="user", content=task.instruction)]

    async def spec(self, task: Task, images: Images) -> SandboxSpec:
        return SandboxSpec(image=await images.agent(task))

    async def start(self, task: Task, sandbox: Sandbox) -> None:
        await sandbox.write("/ready", b"yes")

    def needs_sandbox(self, task: Task) -> bool:
        return False

    async def collect(self, task: Task, context: ScoreContext) -> dict[str, str]:
        assert context.sandbox is not None
        result = await context.sandbox.run("cat /mark")
        return {"mark": context.artifacts.put(result.stdout)}

    async def score(self, task: Task, context: ScoreContext) -> Reward:
        type(self).scored += 1
        if self.faults:
            raise self.faults.pop(0)
        async with context.fresh(SandboxSpec(image="toy")) as sandbox:
            await sandbox.run("true")
        mark = context.artifacts.get(context.saved["mark"])
        return Reward(value=float(mark or 0), parts={"mark": float(mark or 0)}, evidence=dict(context.saved))


class ToyImages:
    async def agent(self, task: Task) -> str:
        return "toy"

    async def verifier(self, task: Task) -> str:
        return "toy"


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> type[ToyEnvironment]:
    module = ModuleType("envfarm.envs.toy")
    module.ENVIRONMENT = ToyEnvironment  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "envfarm.envs.toy", module)
    monkeypatch.setattr(ToyEnvironment, "faults", [])
    monkeypatch.setattr(ToyEnvironment, "scored", 0)
    return ToyEnvironment


@pytest.fixture
def task_folder(tmp_path: Path) -> Path:
    """A root with two toy tasks."""
    root = tmp_path / "tasks"
    for name in ("toy/one", "toy/two"):
        folder = root / name
        (folder / "environment").mkdir(parents=True)
        (folder / "tests").mkdir()
        (folder / "task.toml").write_text('[metadata]\nsplit = "train"\n[envfarm]\nkind = "toy"\n')
        (folder / "instruction.md").write_text(f"Write 1 into /mark ({name}).\n")
        (folder / "environment" / "Dockerfile").write_text("FROM scratch\n")
        (folder / "tests" / "test.sh").write_text("true\n")
    return root


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL (without a database) of a PostgreSQL server of our own, on a private port and folder."""
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"))
    home = Path(subprocess.check_output(["mktemp", "-d", "/tmp/envfarm-pg-XXXXXX"], text=True).strip())
    shutil.chown(home, "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def pg(*command: str) -> None:
        subprocess.run(
            [binaries / command[0], *command[1:]], user="postgres", cwd=home, check=True, stdout=subprocess.DEVNULL
        )

    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    pg("initdb", "-D", "data", "-A", "trust", "-U", "envfarm", "--no-sync")
    try:
        pg("pg_ctl", "-D", "data", "-l", "log", "-w", "-o", options, "start")
        try:
            yield f"postgresql+asyncpg://envfarm@127.0.0.1:{port}"
        finally:
            pg("pg_ctl", "-D", "data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home)


@pytest.fixture
async def shared_database(postgres: str) -> AsyncIterator[str]:
    """The URL of an empty PostgreSQL database."""
    name = f"test_{time.time_ns()}"
    engine = create_async_engine(f"{postgres}/postgres", isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield f"{postgres}/{name}"
    async with engine.connect() as connection:
        await connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    await engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/envfarm.db"
    url: str = request.getfixturevalue("shared_database")
    return url


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    """An open store on each kind of database."""
    store = Store(database)
    await store.open()
    yield store
    await store.close()


OpenFarm = Callable[..., Awaitable[Farm]]


@pytest.fixture
def backend() -> SimulatedBackend:
    return SimulatedBackend()


@pytest.fixture
async def open_farm(
    database: str, backend: SimulatedBackend, task_folder: Path, tmp_path: Path
) -> AsyncIterator[OpenFarm]:
    """Starts farms on one database and one back end, and closes them at the end."""
    async with AsyncExitStack() as stack:

        async def start(
            owner: str = "me", capacity: int = 50, services: Services = NO_SERVICES, **settings: Any
        ) -> Farm:
            toolbox = Toolbox(backend, owner=owner, capacity=capacity, queue=20)
            core = Core(
                store=Store(database),
                backend=backend,
                toolbox=toolbox,
                registry=Registry([task_folder]),
                images=ToyImages(),
                artifacts=Artifacts(tmp_path / "artifacts"),
                owner=owner,
                services=services,
                settings=replace(farm_settings(Settings()), **settings),
            )
            farm = Farm(core)
            stack.push_async_callback(farm.close)
            await farm.start()
            return farm

        yield start


@pytest.fixture
async def farm(open_farm: OpenFarm) -> Farm:
    return await open_farm()
