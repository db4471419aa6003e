"""Web tasks: the agent builds a page, and a browser of the farm's own runs it, uses it and films it.

Nothing of the agent's sandbox takes part in scoring: its folder is taken as data, and the page is built, served and
recorded in a fresh sandbox of the renderer's image.
"""

from __future__ import annotations

import asyncio
import json
import zlib

from envfarm.envs.base import Images, Message, Reward, ScoreContext, Services
from envfarm.envs.harbor import agent_spec
from envfarm.envs.judge.verdict import Verdict
from envfarm.envs.web.grade import broken, grade
from envfarm.envs.web.looks import look
from envfarm.envs.web.recording import RenderJob
from envfarm.envs.web.renderer import Recorded, record, renderer_spec
from envfarm.envs.web.site import Site, pack, sift, take_site
from envfarm.tasks.folder import files
from envfarm.tasks.page import Page, load_page
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import SandboxLost
from envfarm.toolbox.sandboxes.base import Sandbox, SandboxSpec
from envfarm.toolbox.tools.base import Tool
from envfarm.toolbox.tools.bash import Bash
from envfarm.toolbox.tools.finish import Finish
from envfarm.toolbox.tools.str_replace import StrReplace

_WHERE = """
Build it in {folder}. {serve} There is no network: what pages commonly load from jsDelivr, unpkg, cdnjs, esm.sh and
Google Fonts answers at those addresses in the browser, and `npm install` works offline for the same packages. When it
is done, call `finish`.
"""
_NO_JUDGE = "no judge is set, so looks do not count"


class WebEnvironment:
    """Plays web tasks, and scores what was built by E · (0.6 · F + 0.4 · V); E · F where the farm has no judge."""

    kind = "web"

    def check(self, task: Task, services: Services) -> None:
        """It needs none: without a judge the script alone decides."""

    def tools(self, task: Task) -> list[Tool]:
        """`bash`, `str_replace` and `finish`."""
        return [Bash(), StrReplace(), Finish()]

    def messages(self, task: Task) -> list[Message]:
        """The instruction, and where and how the page is to be left."""
        page = load_page(task.path)
        where = _WHERE.format(folder=page.folder, serve=_serving(page)).replace("\n", " ").strip()
        return [Message(role="user", content=f"{task.instruction.rstrip()}\n\n{where}\n")]

    async def spec(self, task: Task, images: Images) -> SandboxSpec:
        """The task's own image, user, network and limits, with the folder for the page."""
        return agent_spec(task, await images.agent(task), setup=f"mkdir -p {load_page(task.path).folder}")

    async def start(self, task: Task, sandbox: Sandbox) -> None:
        """Put the task's assets into the page's folder. Raises SandboxError."""
        if (assets := await asyncio.to_thread(_assets, task)) is not None:
            await sandbox.put_tree(assets, f"{load_page(task.path).folder}/assets")

    def needs_sandbox(self, task: Task) -> bool:
        """The page is never run where the agent was."""
        return False

    async def collect(self, task: Task, context: ScoreContext) -> dict[str, str]:
        """Stop what the agent left running, and take its folder. Raises SandboxError."""
        if context.sandbox is None:
            raise SandboxLost("the agent's sandbox is gone, and its page with it", cause="removed")
        await context.sandbox.kill_all()
        return await take_site(context.sandbox, load_page(task.path).folder, context.artifacts)

    async def score(self, task: Task, context: ScoreContext) -> Reward:
        """Record the page and grade it. Raises FarmFault where the renderer or the judge fails."""
        page = load_page(task.path)
        raw = await asyncio.to_thread(context.artifacts.get, context.saved["site"])
        site = await asyncio.to_thread(sift, raw, page.folder)
        if site.problem:
            parts = {"executable": 0.0, "functional": 0.0}
            return Reward(value=0.0, parts=parts, evidence=dict(context.saved), reason=site.problem)
        assets = await asyncio.to_thread(_assets, task)
        spec = renderer_spec(context.services.renderer, isolation=task.config.envfarm.isolation or "runc")
        recorded = await record(context.fresh, job(task, page), site.tar, assets=assets, spec=spec)
        verdict: Verdict | None = None
        judge = context.services.judge
        if judge is not None and broken(recorded.recording) is None:
            verdict = await look(judge, page, task.instruction, recorded)
        graded = grade(page, recorded.recording, verdict)
        reason = graded.reason or (_NO_JUDGE if judge is None else None)
        evidence = await asyncio.to_thread(_evidence, context, recorded, site, verdict)
        return Reward(value=graded.value, parts=graded.parts, evidence=evidence, reason=reason)


def job(task: Task, page: Page) -> RenderJob:
    """What the renderer is asked for: the same for every episode of a task."""
    return RenderJob(
        serve=page.serve,
        steps=page.steps,
        mode=page.mode,
        explore=page.explore,
        seed=zlib.crc32(task.id.encode()),
        seconds=page.seconds,
        settle=page.settle,
        promised=page.promised,
    )


def _serving(page: Page) -> str:
    serve = page.serve
    build = f"First `{serve.build}` is run there. " if serve.build else ""
    if serve.command:
        return f"{build}`{serve.command}` is run there, and must serve the page on port {serve.port} at {serve.path}."
    folder = page.folder if serve.folder in (".", "") else f"{page.folder}/{serve.folder}"
    return f"{build}{folder} is served as static files, and the page is opened at {serve.path}."


def _assets(task: Task) -> bytes | None:
    """The task's files for the page, as a tar; None where it gives none."""
    folder = task.path / "assets"
    found = {name: (file.read_bytes(), False) for name, file in files(folder)} if folder.is_dir() else {}
    return pack(found) if found else None


def _evidence(context: ScoreContext, recorded: Recorded, site: Site, verdict: Verdict | None) -> dict[str, str]:
    recording = recorded.recording
    kept = dict(recorded.files)
    kept["result.json"] = recording.model_dump_json(indent=1, exclude={"trace", "digests"}).encode()
    kept["digests.txt"] = "".join(f"{digest}\n" for digest in recording.digests).encode()
    if site.left_out:
        kept["left_out.json"] = json.dumps(site.left_out, indent=1, sort_keys=True).encode()
    if verdict is not None:
        kept["verdict.json"] = verdict.model_dump_json(indent=1).encode()
    return dict(context.saved) | {name: context.artifacts.put(data) for name, data in sorted(kept.items())}
