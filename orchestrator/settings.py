"""The one settings object: `envfarm.toml`, `ENVFARM_*` variables and command-line flags, in rising priority."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from envfarm.envs.judge.config import JudgeConfig
from envfarm.k8s.config import KubernetesConfig
from envfarm.orchestrator.errors import SettingsError
from envfarm.toolbox.egress.config import EgressConfig
from envfarm.toolbox.explain import Place, dotted, explain
from envfarm.toolbox.sandboxes.base import Isolation
from envfarm.toolbox.search.config import EmbeddingsConfig, RetrieverKind
from envfarm.toolbox.search.live.config import LiveConfig

PREFIX = "ENVFARM_"
INSIDE = "__"  # between a table's name and a key of it, in a variable
FILE = "envfarm.toml"
CONFIG = "ENVFARM_CONFIG"  # names another file than ./envfarm.toml

_SECRET = ("token", "tokens", "database", "judge", "judge.key", "embeddings", "embeddings.key")
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}

BASE_IMAGES = {
    "debian:*": "envfarm/base:1",
    "ubuntu:*": "envfarm/base:1",
    "python:*": "envfarm/base:1",
    "buildpack-deps:*": "envfarm/base:1",
    "golang:*": "envfarm/go:1",
    "rust:*": "envfarm/rust:1",
    "node:*": "envfarm/node:1",
    "busybox:*": "envfarm/busybox:1",
}


Port = Annotated[int, Field(ge=0, le=65535)]


def _items(value: Any) -> Any:
    """A list as an environment variable writes it: JSON, or its items with commas between them."""
    if not isinstance(value, str):
        return value
    return _json(value) if value.startswith("[") else [item.strip() for item in value.split(",") if item.strip()]


def _no_empty_token(tokens: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    """An empty token would let in whoever sends none."""
    for token in tokens:
        name, colon, run = token.get_secret_value().partition(":")
        if not name.strip() or (colon and not run):
            raise ValueError("write each token as TOKEN or TOKEN:RUN; none of the two may be empty")
    return tokens


def _json(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None


def _pairs(value: Any) -> Any:
    """A table as an environment variable writes it: JSON, or `key=value` with commas between them."""
    if not isinstance(value, str):
        return value
    if value.startswith("{"):
        return _json(value)
    pairs = [item.partition("=") for item in _items(value)]
    if any(not middle for _, middle, _ in pairs):
        raise ValueError("expected JSON, or key=value,key=value")
    return {key.strip(): item.strip() for key, _, item in pairs}


def _table(value: Any) -> Any:
    """A table with values of several kinds: as an environment variable writes it, JSON."""
    return _json(value) if isinstance(value, str) else value


def _store(url: str | None) -> str | None:
    """The databases that there is a driver for; what follows the scheme may be a password, so it is not shown."""
    if url is not None and url.partition("://")[0] not in _DRIVERS | dict.fromkeys(_DRIVERS.values(), ""):
        raise ValueError("write sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME")
    return url


def _server(url: str | None) -> str | None:
    if url is not None and not re.match(r"https?://[^/\s]+", url):
        raise ValueError("write http://HOST:PORT")
    return url


class Settings(BaseSettings):
    """What is in force. Times are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    data: Path = Field(Path("envfarm-data"), description="folder of the database, artefacts, logs and builds")
    database: Annotated[str | None, AfterValidator(_store)] = Field(
        None, description="`sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`; default: envfarm.db in `data`"
    )
    artifacts: Path | None = Field(
        None, description="folder of the artefacts, which several servers may share; default: artifacts in `data`"
    )
    host: str = Field("127.0.0.1", description="address that the server listens on")
    port: Port = Field(8470, description="its port; 0 takes a free one")
    tokens: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_items), AfterValidator(_no_empty_token)] = (
        Field(
            (),
            description="bearer tokens that the server takes, `TOKEN` or `TOKEN:RUN` for one run only; none: no check",
        )
    )
    dialects: Annotated[tuple[Literal["mcp", "ors"], ...], NoDecode, BeforeValidator(_items)] = Field(
        (), description="protocols besides `/v1` that the server speaks: `mcp`, `ors`"
    )
    dialect_ports: Annotated[dict[Literal["ors"], Port], NoDecode, BeforeValidator(_pairs)] = Field(
        {},
        description="`NAME=PORT,…`: ports of their own for dialects whose clients know no prefix; 0: a free one",
    )
    advertise: Annotated[str | None, AfterValidator(_server)] = Field(
        None, description="URL at which the other servers of the database reach this one; none: they answer 421"
    )
    takeover: bool = Field(
        False, description="whether servers of the database take over from each other; they must share the back end"
    )
    takeover_seconds: float = Field(60.0, ge=1, description="silence after which a server is gone for the others")
    drain_seconds: float = Field(30.0, ge=0, description="how long a server that is told to stop waits for its steps")
    url: Annotated[str | None, AfterValidator(_server)] = Field(
        None, description="server that commands talk to; default: the one that works in `data`, else one of their own"
    )
    token: SecretStr | None = Field(None, description="bearer token that the commands send")
    body_limit: int = Field(8 << 20, ge=1024, description="bytes of a request's body")
    backend: Literal["docker", "kubernetes", "local", "simulated"] = Field(
        "docker", description="what runs the sandboxes"
    )
    docker_url: str | None = Field(
        None,
        description="engine's address, `unix:///FILE` or `tcp://HOST:PORT`; default: DOCKER_HOST, else local",
    )
    kubernetes: Annotated[KubernetesConfig, NoDecode, BeforeValidator(_table)] = Field(
        KubernetesConfig(), description="table of what the Kubernetes back end is told"
    )
    egress: Annotated[EgressConfig, NoDecode, BeforeValidator(_table)] = Field(
        EgressConfig(), description="table of what the proxies of tasks with an allowlist are told"
    )
    renderer_image: str = Field("envfarm/renderer:1", description="image that the pages of web tasks are recorded in")
    judge: Annotated[JudgeConfig, NoDecode, BeforeValidator(_table)] = Field(
        JudgeConfig(), description="table of what the judge is told"
    )
    isolation: Isolation = Field("runc", description="of tasks that ask for none: `runc` or `gvisor`")
    network: Literal["none", "public"] = Field("none", description="of tasks that ask for none: `none` or `public`")
    capacity: int = Field(32, ge=1, description="sandboxes that may live at once")
    warm: int = Field(1, ge=0, description="idle sandboxes kept ready for each image in use")
    starts: int = Field(16, ge=1, description="sandboxes that are started at once; a cluster takes more")
    queue: int = Field(10_000, ge=0, description="episodes of a run that may wait for a sandbox")
    base_images: Annotated[dict[str, str], NoDecode, BeforeValidator(_pairs)] = Field(
        BASE_IMAGES,
        description="a glob of image names in task files to the local image that stands in, when the engine has it",
    )
    images: Path | None = Field(
        None,
        description="table that `envfarm tasks push` wrote, for back ends that build no images",
    )
    ca_bundle: Path | None = Field(
        None, description="certificates that builds trust besides the image's own; default: SSL_CERT_FILE where set"
    )
    tasks: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_items)] = Field(
        (), description="folders of tasks besides the samples"
    )
    corpora: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_items)] = Field(
        (), description="folders of corpora that search tasks may need; the first one answers `POST /retrieve`"
    )
    search_index: RetrieverKind = Field(
        "tantivy", description="what searches the corpora: `tantivy`, `fts`, `dense` or `hybrid`"
    )
    embeddings: Annotated[EmbeddingsConfig, NoDecode, BeforeValidator(_table)] = Field(
        EmbeddingsConfig(), description="table of what makes the vectors of `dense` and `hybrid`"
    )
    live: Annotated[LiveConfig, NoDecode, BeforeValidator(_table)] = Field(
        LiveConfig(), description="table of what search in the real web is told"
    )
    samples: bool = Field(True, description="whether the tasks that envfarm ships are served too")
    lease_seconds: float = Field(600.0, gt=0, description="how long an episode lives without a call or a heartbeat")
    suspend_seconds: float = Field(3600.0, gt=0, description="how long a suspended episode waits to be resumed")
    max_turns: int = Field(200, ge=1, description="steps after which an episode is cut")
    step_timeout: float = Field(120.0, gt=0, description="seconds for one tool call")
    episode_timeout: float = Field(3600.0, gt=0, description="seconds after which an episode is cut")
    output_limit: int = Field(65536, ge=256, description="bytes of each output that the model is shown")
    kept_outputs: int = Field(
        1 << 30, ge=0, description="bytes of whole outputs kept for an episode; what is cut after that is not kept"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="of the server's log")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` hands over, as it reads the sources one by one to know where each value came from."""
        return (init_settings,)

    @property
    def database_url(self) -> str:
        """SQLAlchemy's URL of the store, with the driver that we use."""
        if self.database is None:
            return f"sqlite+aiosqlite:///{(self.data / 'envfarm.db').absolute()}"
        scheme, colon, rest = self.database.partition("://")
        return f"{_DRIVERS.get(scheme, scheme)}{colon}{rest}"

    @property
    def trusted(self) -> Path | None:
        """The CA bundle that builds get."""
        named = os.environ.get("SSL_CERT_FILE")
        return self.ca_bundle or (Path(named) if named and Path(named).is_file() else None)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each one came from: `default`, the file's name, a variable, or a flag."""

    settings: Settings
    origins: dict[str, str]


def load(flags: Mapping[str, Any] | None = None) -> Loaded:
    """Read the settings in force; a flag that is None counts as not given.

    Raises SettingsError: an unknown key (it names the nearest known one), a wrong value, a broken file.
    """
    file = _file()
    sources: list[tuple[dict[str, Any], dict[str, str]]] = []
    if file is not None:
        values = _read(file)
        sources.append((values, {key: str(file) for key in values}))
    _refuse_unknown({name[len(PREFIX) :].lower(): name for name in _variables()}, PREFIX)
    values = EnvSettingsSource(Settings, env_nested_delimiter=INSIDE)()
    sources.append((values, {key: f"{PREFIX}{key.upper()}" for key in values}))
    values = {key: value for key, value in (flags or {}).items() if value is not None}
    _refuse_unknown({key: f"--{key.replace('_', '-')}" for key in values})
    sources.append((values, {key: f"--{key.replace('_', '-')}" for key in values}))
    merged: dict[str, Any] = {}
    origins = dict.fromkeys(Settings.model_fields, "default")
    for values, where in sources:
        merged |= values
        origins |= where
    return Loaded(_checked(merged, origins), origins)


def _file() -> Path | None:
    named = os.environ.get(CONFIG)
    path = Path(named or FILE)
    if path.is_file():
        return path
    if named:
        raise SettingsError(f"{CONFIG}: no such file {named}; correct it or unset it")
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        values = TomlConfigSettingsSource(Settings, file)()
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: not TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from None
    _refuse_unknown({key: f"{file}: {key}" for key in values})
    # A folder in the file is meant from where the file lies, not from where envfarm happens to run.
    for key in ("data", "artifacts", "images", "ca_bundle"):
        if isinstance(values.get(key), str):
            values[key] = file.parent / values[key]
    for key in ("tasks", "corpora"):
        if isinstance(values.get(key), list):
            values[key] = [file.parent / folder for folder in values[key]]
    return values


def _variables() -> list[str]:
    return sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() != CONFIG)


def _refuse_unknown(names: Mapping[str, str], prefix: str = "") -> None:
    known = list(Settings.model_fields)
    for key, shown in names.items():
        if key.partition(INSIDE)[0] in known:
            continue
        near = difflib.get_close_matches(key, known, 1, 0.5)
        hint = prefix + near[0].upper() if near and prefix else near[0] if near else None
        advice = f"did you mean {hint}?" if hint else "`envfarm config` lists the known ones"
        raise SettingsError(f"{shown}: no such setting; {advice}")


def _checked(values: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    """Validate what was merged, without reading the sources a second time."""

    def where(place: Place) -> str:
        origin, inside = origins[str(place[0])], dotted(place[1:])
        shown = origin if origin.startswith((PREFIX, "--")) else f"{origin}: {place[0]}"
        return f"{shown}.{inside}" if inside else shown

    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(explain(error, Settings, where=where, secret=_SECRET)) from None
