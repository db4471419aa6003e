"""Images built by a Docker engine: cached by content, built once under concurrency, base images remapped, logs kept."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import requests
import urllib3
from docker.errors import APIError, DockerException, ImageNotFound

from envfarm.toolbox.errors import ImageError
from envfarm.toolbox.sandboxes import build_context
from envfarm.toolbox.sandboxes import dockerfile as dockerfiles
from envfarm.toolbox.sandboxes.docker_engine import EngineClient, engine
from envfarm.toolbox.sandboxes.images import Check

CA_VARIABLES = (
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
)
"""What names the CA bundle to the programs of a RUN step; declared as ARG, so that no image keeps them."""

_CA_FILE = "/etc/ssl/certs/ca-certificates.crt"
_CA_SOURCE = "/usr/local/share/ca-certificates/envfarm.crt"  # from here update-ca-certificates takes it into a new one
_CA_CONTEXT = ".envfarm/ca.crt"
_DOCKERFILE = ".envfarm/Dockerfile"
_TAIL = 4096
_ATTEMPTS = 3
_ENGINE_FAULT = re.compile(r"failed to create (endpoint|shim|task)|no such network interface")
"""What a busy engine says when it could not start a step's container: no fault of the Dockerfile."""
_PULL_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class _Plan:
    """One build, decided: what goes to the engine and under which tag the result is kept."""

    what: str  # the Dockerfile's path, for messages
    context: Path
    names: list[str]
    files: dict[str, str]
    modes: list[tuple[str, int]]
    args: dict[str, str]
    tag: str
    log: Path

    @property
    def new(self) -> str:
        """The tag until the image was checked."""
        return f"{self.tag}-new-{os.getpid()}"  # another process may build the same


class DockerImages:
    """Builds images; implements ImageBuilder. Share one for all builds of a process.

    `remap` is a table of globs and images: a base image that this machine lacks is replaced by the image of the first
    glob that fits its name, where the engine has that one. `ca_bundle` is trusted in RUN steps and stays in the image
    as a file only. `logs` keeps a log and a lock for each build.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        remap: Mapping[str, str] | None = None,
        ca_bundle: Path | None = None,
        logs: Path,
        parallel: int | None = None,
    ) -> None:
        self._url = url
        self._remap = dict(remap or {})
        self._ca_bundle = ca_bundle
        self._logs = logs
        self._threads = ThreadPoolExecutor(parallel or os.cpu_count() or 2, "envfarm-build")
        self._running: dict[str, asyncio.Task[str]] = {}

    async def build(
        self,
        context: Path,
        *,
        dockerfile: str = "Dockerfile",
        args: Mapping[str, str] | None = None,
        name: str = "task",
        timeout: float = 600.0,
        check: Check | None = None,
    ) -> str:
        """Build a folder and return the image's reference `envfarm/task-<name>:<hash>`, at once when it is built.

        The hash is of the context, the Dockerfile, the arguments and the base images. `timeout` is in seconds.
        `check` sees a new image before it gets its name; what it raises refuses the image.
        Raises ImageError with the end of the log, BackendUnavailable.
        """
        plan = await self._plan(context, dockerfile, dict(args or {}), name)
        return await self._once(plan.tag, lambda: self._built(plan, timeout, check))

    async def find(self, image: str) -> str:
        """The reference under which the engine has an image: its own name, a stand-in's from `remap`, or pulled.

        Raises ImageError, BackendUnavailable.
        """
        return (await self._found(image))[0]

    async def close(self) -> None:
        """Stop the builds that are under way."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._threads.shutdown(wait=False)

    async def _once(self, key: str, work: Callable[[], Coroutine[Any, Any, str]]) -> str:
        """One run of `work` for all who ask for it at the same time; it goes on when one of them is cancelled."""
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(work())
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(task)

    async def _found(self, image: str) -> tuple[str, str]:
        """An image's reference and its id."""
        candidates = [image]
        full = image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"
        short = full.removeprefix("docker.io/").removeprefix("library/").partition("@")[0]
        candidates += [stand_in for glob, stand_in in self._remap.items() if fnmatchcase(short, glob)]
        for candidate in candidates:
            if found := await asyncio.to_thread(self._id, candidate):
                return candidate, found
        await self._once(full, lambda: self._pulled(image, full, candidates[1:]))
        return image, await asyncio.to_thread(self._id, image) or ""

    def _id(self, image: str) -> str | None:
        with engine(self._url, 60) as client:
            try:
                return str(client.inspect_image(image)["Id"])  # type: ignore[no-untyped-call]  # its stub lacks one
            except ImageNotFound:
                return None
            except APIError as error:
                raise ImageError(f"image {image}: {error.explanation}") from None

    async def _pulled(self, image: str, full: str, stand_ins: list[str]) -> str:
        def pull() -> str:
            with engine(self._url, _PULL_TIMEOUT) as client:
                try:
                    for message in client.pull(full, stream=True, decode=True):
                        if "error" in message:
                            return str(message["error"])
                except APIError as error:
                    return str(error.explanation)
            return ""

        if problem := await asyncio.get_running_loop().run_in_executor(self._threads, pull):
            fix = "build it here, or give a local image for it in the setting base_images"
            if stand_ins:
                fix = f"base_images names {stand_ins[0]} for it: build that one"
            raise ImageError(f"image {image}: not on this machine and cannot be pulled ({problem.strip()}); {fix}")
        return image

    async def _plan(self, context: Path, dockerfile: str, args: dict[str, str], name: str) -> _Plan:
        file = context / dockerfile
        try:
            instructions = dockerfiles.parse(file.read_bytes().decode())
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise ImageError(f"{file}: cannot be read: {reason}; a build needs it") from None
        replace: dict[str, str] = {}
        sha = hashlib.sha256(json.dumps([args, dockerfile]).encode())
        for image in dockerfiles.images(instructions, args):
            try:
                replace[image], id = await self._found(image)
            except ImageError as error:
                raise ImageError(f"{file}: {error}") from None
            sha.update(id.encode())
        names = await asyncio.to_thread(build_context.names, context, dockerfile)
        await asyncio.to_thread(build_context.add_to_hash, sha, context, names)
        prelude: list[str] = []
        files: dict[str, str] = {}
        if self._ca_bundle is not None:
            files[_CA_CONTEXT] = _ca(self._ca_bundle)
            prelude = [f"COPY {_CA_CONTEXT} {place}" for place in (_CA_FILE, _CA_SOURCE)]
            prelude += ["ARG " + " ".join(f"{variable}={_CA_FILE}" for variable in CA_VARIABLES)]
        new = dockerfiles.rewrite(instructions, args=args, replace=replace, prelude=prelude)
        files |= {**new.files, _DOCKERFILE: new.text}
        digest = sha.hexdigest()[:12]
        log = self._logs / f"{name}-{digest}.log"
        tag = f"envfarm/task-{name}:{digest}"
        return _Plan(str(file), context, names, files, new.modes, {**new.args, **args}, tag, log)

    async def _built(self, plan: _Plan, timeout: float, check: Check | None) -> str:
        if await asyncio.to_thread(self._id, plan.tag):
            return plan.tag
        self._logs.mkdir(parents=True, exist_ok=True)
        async with _locked(plan.log.with_suffix(".lock")):
            if not await asyncio.to_thread(self._id, plan.tag):
                for attempt in range(_ATTEMPTS):
                    try:
                        await self._run(plan, timeout)
                        break
                    except ImageError as error:
                        if attempt == _ATTEMPTS - 1 or not _ENGINE_FAULT.search(str(error)):
                            raise
                await self._name(plan, check)
        return plan.tag

    async def _name(self, plan: _Plan, check: Check | None) -> None:
        def rename(name: bool) -> None:
            with engine(self._url, 60) as client:
                if name:
                    repository, _, tag = plan.tag.rpartition(":")
                    client.tag(plan.new, repository, tag)
                client.remove_image(plan.new, noprune=True)

        passed = False
        try:
            if check is not None:
                await check(plan.new)
            passed = True
        finally:
            await asyncio.to_thread(rename, passed)

    async def _run(self, plan: _Plan, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        started = asyncio.Event()  # the time-out does not count the wait for a thread
        with engine(self._url, timeout + 60) as client:

            def work() -> str:
                loop.call_soon_threadsafe(started.set)
                return _build(client, plan)

            build = loop.run_in_executor(self._threads, work)
            try:
                await started.wait()
                problem = await asyncio.wait_for(asyncio.shield(build), timeout)
            except TimeoutError:
                problem = f"not done after {timeout:g} s ([environment] build_timeout_sec)"
            finally:
                if not started.is_set():
                    build.cancel()
                while not build.done():  # the response may not be there yet at the first try
                    client.abort()
                    await asyncio.wait([build], timeout=0.1)
        if not await asyncio.to_thread(self._id, plan.new):
            log = await asyncio.to_thread(_tail, plan.log)
            problem = problem or "it ended early"
            raise ImageError(f"{plan.what}: the build failed: {problem}; its log is {plan.log}", log=log)


def _build(client: EngineClient, plan: _Plan) -> str:
    """Build on the engine and write the log; returns what went wrong, or nothing."""
    problem = ""
    with tempfile.TemporaryFile() as tar, plan.log.open("w", encoding="utf-8") as log:
        build_context.pack(plan.context, plan.names, tar, extra=plan.files, modes=plan.modes)
        try:
            for message in client.build(
                fileobj=tar,
                custom_context=True,
                dockerfile=_DOCKERFILE,
                tag=plan.new,
                buildargs=plan.args,
                labels={"envfarm.image": "task"},
                rm=True,
                forcerm=True,
                decode=True,
            ):
                problem = str(message.get("error", problem)).strip()
                log.write(str(message.get("stream") or message.get("error") or ""))
                log.flush()
        except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, ValueError, OSError) as error:
            problem = str(getattr(error, "explanation", None) or error)
            log.write(f"\n{problem}\n")
    return " ".join(problem.split())


def _ca(bundle: Path) -> str:
    try:
        return bundle.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(f"{bundle}: the CA bundle cannot be read ({error}); correct the setting ca_bundle") from None


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        return file.read().decode(errors="replace")


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """Hold a file's lock, which other processes respect too; the file stays."""
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(0.05)
        yield
