"""The task format: Harbor's folder and our table in its `task.toml`.

Source of the format: Harbor's task.toml, schema versions 1.0 to 1.4. Keys that Harbor ignores are ignored here too,
except in our own table `[envfarm]`, where an unknown key is an error; `tasks.near` tells of those that look misspelt.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from envfarm.tasks.rubric import RubricTable
from envfarm.toolbox.sandboxes.base import Isolation

OLD_NAMES = {"memory": "memory_mb", "storage": "storage_mb"}
"""Keys of `[environment]` as old task files write them."""

NetworkMode = Literal["public", "no-network", "allowlist"]

_SIZES = {"": 1 / (1 << 20), "K": 1 / (1 << 10), "M": 1.0, "G": float(1 << 10), "T": float(1 << 20)}


def _megabytes(value: Any) -> Any:
    """`"2G"`, as old task files write it, to megabytes."""
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", value.strip(), re.I)):
        return int(float(match[1]) * _SIZES[match[2].upper()])
    return value


Megabytes = Annotated[int, BeforeValidator(_megabytes), Field(ge=1)]


def _absolute(path: str | None) -> str | None:
    if path is not None and not path.startswith("/"):
        raise ValueError("write an absolute path")
    return path


class _Harbor(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _NetworkPolicy(_Harbor):
    network_mode: NetworkMode | None = None
    allowed_hosts: tuple[str, ...] = ()
    allow_internet: bool | None = None  # deprecated spelling of network_mode


class TaskTable(_Harbor):
    """`[task]`."""

    name: str | None = None
    description: str = ""
    keywords: tuple[str, ...] = ()


class Healthcheck(_Harbor):
    """`[environment.healthcheck]`: times in seconds."""

    command: str
    interval_sec: float = 5
    timeout_sec: float = 30
    start_period_sec: float = 0
    start_interval_sec: float = 5
    retries: int = 3


class EnvironmentTable(_NetworkPolicy):
    """`[environment]`, and `[verifier.environment]`."""

    build_timeout_sec: float = 600
    docker_image: str | None = None
    cpus: float = 1
    memory_mb: Annotated[Megabytes, Field()] = 2048
    storage_mb: Annotated[Megabytes, Field()] = 10240
    gpus: int = 0
    workdir: Annotated[str | None, AfterValidator(_absolute)] = None
    env: dict[str, str] = {}
    healthcheck: Healthcheck | None = None

    @model_validator(mode="before")
    @classmethod
    def _old_names(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for old, new in OLD_NAMES.items():
                if old in data and new not in data:
                    data = {**data, new: data[old]}
        return data


class AgentTable(_NetworkPolicy):
    """`[agent]`."""

    timeout_sec: float | None = None
    user: str | int | None = None


class VerifierTable(_NetworkPolicy):
    """`[verifier]`."""

    timeout_sec: float = 600
    env: dict[str, str] = {}
    user: str | int | None = None
    environment_mode: Literal["shared", "separate"] | None = None
    environment: EnvironmentTable | None = None

    @property
    def separate(self) -> bool:
        """Whether the tests run in a fresh sandbox of their own."""
        return self.environment_mode == "separate" or (self.environment_mode is None and self.environment is not None)


class SolutionTable(_Harbor):
    """`[solution]`."""

    env: dict[str, str] = {}


class Source(BaseModel):
    """`[envfarm.source]`: where the code came from; the sources themselves are fetched when the image is built."""

    model_config = ConfigDict(extra="allow", frozen=True)

    registry: Literal["pypi", "go", "crates", "npm", "git"] | None = None
    name: str | None = None
    old: str | None = None
    new: str | None = None
    licence: str | None = None


class SearchTable(BaseModel):
    """`[envfarm.search]`: what a question is asked of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    corpus: str  # the version, `sha256:…`, that the question was made for
    tools: tuple[Literal["search", "open", "find", "bash"], ...] = ("search", "open", "find")  # beside `finish`
    judge: bool = False  # whether the judge is asked about an answer whose words and value are others


class FarmTable(BaseModel):
    """`[envfarm]`: what Harbor has no word for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str = "terminal"
    language: str | None = None
    isolation: Isolation | None = None
    services_survive: bool = False  # terminal: leave the agent's processes running while the tests run
    carry: tuple[str, ...] = ()  # terminal: globs of system paths whose changes the tests see all the same
    runner: str | None = None  # swe: pytest, go, cargo, node (envfarm.tasks.runners)
    repository: str = "/testbed"  # swe: where the code lies in the image
    fail_to_pass: tuple[str, ...] = ()
    pass_to_pass: tuple[str, ...] = ()
    test_paths: tuple[str, ...] = ()  # swe: files and folders of the repository that come from the task when scoring
    protect: tuple[str, ...] = ()  # swe: further globs that the agent's changes may not reach
    leak_allow: tuple[str, ...] = ()  # swe: lines of the fix that may stand in the image all the same
    full_mark: float = 1.0  # what the solution earns
    wrong_mark: float = 0.0  # what plausible wrong answers may earn at most, where rewards have parts
    source: Source = Source()
    search: SearchTable | None = None
    rubric: RubricTable | None = None


class TaskConfig(_Harbor):
    """`task.toml`."""

    schema_version: str | None = None
    source: str | None = None
    artifacts: tuple[str | dict[str, Any], ...] = ()
    task: TaskTable = TaskTable()
    metadata: dict[str, Any] = {}
    agent: AgentTable = AgentTable()
    verifier: VerifierTable = VerifierTable()
    solution: SolutionTable = SolutionTable()
    environment: EnvironmentTable = EnvironmentTable()
    envfarm: FarmTable = FarmTable()


class Task(BaseModel):
    """One task: its configuration, its statement and its folder. `load` in envfarm.tasks.folder reads it."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    id: str  # unique in a registry: the folder's path below the registry's root, `swe/markdown-it-py-2.0.1`
    path: Path
    instruction: str
    config: TaskConfig
    digest: str  # of every file in the folder: two tasks with the same digest are the same task
    warnings: tuple[str, ...] = ()  # what nobody reads in it and looks as if it was meant, a line each

    @property
    def kind(self) -> str:
        """The kind of environment that plays it."""
        return self.config.envfarm.kind

    @property
    def has_image(self) -> bool:
        """Whether it names an image or has the recipe of one; what has none is played without a sandbox."""
        return bool(self.config.environment.docker_image) or (self.path / "environment" / "Dockerfile").is_file()
