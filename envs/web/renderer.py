"""The host's side of the renderer: a fresh sandbox, the page and the job in, the recording and its files out.

Whatever comes out was made beside a hostile page: it is bounded, and validated as data.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass

from pydantic import ValidationError

from envfarm.envs.base import NO_SERVICES, TAKEN_DOWN, FreshSandboxes
from envfarm.envs.tar import members
from envfarm.envs.web.recording import Recording, RenderJob
from envfarm.toolbox.errors import FileProblem, SandboxError, SandboxLost
from envfarm.toolbox.explain import explain
from envfarm.toolbox.sandboxes.base import ExecResult, Isolation, Limits, Sandbox, SandboxSpec

IMAGE = NO_SERVICES.renderer
LARGEST = 64 << 20  # bytes of all that a recording may leave
_LOG = 20_000  # characters of a build's or a server's log that are kept
_OUT = "/srv/out"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording, and the bytes of the files that it names (video, stills, contact sheet) and of its trace.json."""

    recording: Recording
    files: dict[str, bytes]


def renderer_spec(image: str = IMAGE, *, isolation: Isolation = "runc") -> SandboxSpec:
    """The sandbox that pages are recorded in; equal for all, so that one warm pool serves them."""
    return SandboxSpec(
        image=image, isolation=isolation, limits=Limits(cpus=2.0, memory_mb=2048, pids=512), entrypoint=False
    )


async def record(
    fresh: FreshSandboxes, job: RenderJob, site: bytes, *, assets: bytes | None = None, spec: SandboxSpec | None = None
) -> Recorded:
    """Record a page. `site` and `assets` are tars of folders; what a page does wrong is in `recording.outcome`.

    Raises SandboxError for a fault of the farm: a dead sandbox, outcome `infra`, a result that is none. What takes two
    sandboxes down in a row by its hunger for memory is the page's fault: outcome `crashed`.
    """
    for _ in range(2):
        try:
            return await _record(fresh, job, site, assets, spec or renderer_spec())
        except SandboxLost as error:
            if error.cause not in TAKEN_DOWN:
                raise
            lost = error
    return _whole(Recording(outcome="crashed", why=f"the page took its sandbox down twice ({lost.cause})"), {})


async def _record(
    fresh: FreshSandboxes, job: RenderJob, site: bytes, assets: bytes | None, spec: SandboxSpec
) -> Recorded:
    """Once, in a fresh sandbox. Raises SandboxError."""
    async with fresh(spec) as sandbox:
        await _place(sandbox, job, site, assets)
        if job.serve.build is not None and (failed := await _build(sandbox, job, job.serve.build)) is not None:
            return _whole(failed, {})
        if job.serve.command is not None:
            await _serve(sandbox, job, job.serve.command)
        seconds = job.deadline + job.serve.start_seconds + 60
        done = await sandbox.run(
            f"exec venv/bin/python -m render /srv/job.json {_OUT}", user="render", cwd="/opt/render", timeout=seconds
        )
        recorded = await _read(sandbox, done)
        log = await _log(sandbox, "/srv/page/server.log") if job.serve.command is not None else ""
    recording = recorded.recording
    if recording.outcome == "infra":
        raise SandboxError(f"the renderer failed: {recording.why}")
    trace = recording.trace.model_copy(update={"server_log": log})
    return _whole(recording.model_copy(update={"trace": trace}), recorded.files)


def _whole(recording: Recording, files: dict[str, bytes]) -> Recorded:
    return Recorded(recording, {**files, "trace.json": recording.trace.model_dump_json(indent=1).encode()})


async def _place(sandbox: Sandbox, job: RenderJob, site: bytes, assets: bytes | None) -> None:
    """The page's files belong to `page`, whose commands cannot reach those of `render`."""
    await sandbox.put_tree(site, "/srv/page/site")
    await sandbox.put_tree(assets or _empty(), "/srv/page/assets")
    await sandbox.write("/srv/job.json", job.model_dump_json().encode(), mode=0o600)  # it has the checks
    ready = await sandbox.run(
        "mkdir -p /srv/out && chown render /srv/out /srv/job.json && chmod 700 /srv/out && chown -hR page /srv/page && "
        "chmod -R u+rwX,go+rX /srv/page",
        user="root",
    )
    if ready.exit_code != 0:
        raise SandboxError(
            f"the renderer's sandbox cannot be made ready: {ready.stderr.decode(errors='replace')[-200:]}"
        )


async def _build(sandbox: Sandbox, job: RenderJob, command: str) -> Recording | None:
    """Run the build and end all that it left running; the failed recording where it fails."""
    done = await sandbox.run(command, user="page", cwd="/srv/page/site", timeout=job.serve.build_seconds)
    await sandbox.kill_all()
    if done.exit_code == 0:
        return None
    log = (done.stdout + b"\n" + done.stderr).decode(errors="replace")[-_LOG:]
    why = f"not built after {job.serve.build_seconds:g} seconds" if done.timed_out else f"exit code {done.exit_code}"
    failed = Recording(outcome="build_failed", why=f"the build failed: {why}")
    return failed.model_copy(update={"trace": failed.trace.model_copy(update={"build_log": log})})


async def _serve(sandbox: Sandbox, job: RenderJob, command: str) -> None:
    """Start the page's server beside; it says its exit code in a file when it ends."""
    await sandbox.write("/srv/page/serve.sh", command.encode(), mode=0o755)
    inner = "sh /srv/page/serve.sh; echo $? > /srv/page/exit"
    await sandbox.run(
        f"PORT={job.serve.port} setsid sh -c '{inner}' >/srv/page/server.log 2>&1 </dev/null &",
        user="page",
        cwd="/srv/page/site",
    )


async def _read(sandbox: Sandbox, done: ExecResult) -> Recorded:
    """What the renderer left. Raises SandboxError where that is no recording."""
    try:
        tar = await sandbox.get_tree(_OUT, exclude=("log", "live"), limit=LARGEST)
        files = {m.name.removeprefix("./"): m.data(tar) for m in members(tar) if m.kind == "file" and m.size <= LARGEST}
        recording = Recording.model_validate_json(files["result.json"])
    except KeyError:
        tail = done.stderr.decode(errors="replace")[-200:]
        raise SandboxError(f"the renderer left no result (exit code {done.exit_code}): {tail}") from None
    except ValidationError as error:
        raise SandboxError(f"the renderer's result is none: {explain(error, Recording)}") from None
    except (FileProblem, ValueError) as error:
        raise SandboxError(f"the renderer's files cannot be read: {error}") from None
    named = [recording.video, recording.mobile, recording.contact, *(still.file for still in recording.keyframes)]
    lost = [name for name in named if name is not None and name not in files]
    if lost:
        raise SandboxError(f"the renderer's result names files that are not there: {', '.join(lost)[:200]}")
    return Recorded(recording, {name: files[name] for name in named if name is not None})


async def _log(sandbox: Sandbox, path: str) -> str:
    try:
        return (await sandbox.read(path, limit=4 << 20)).decode(errors="replace")[-_LOG:]
    except FileProblem:
        return ""


def _empty() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w"):
        pass
    return buffer.getvalue()
