"""Web tasks: the agent builds a page, and a browser of the farm's own runs it, uses it and films it.

Nothing of the agent's sandbox takes part in scoring: its folder is taken as data, and the page is built, served and
recorded in a fresh sandbox of the renderer's image.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Mapping

from envfarm.envs.base import Images, Message, Reward, ScoreContext
from envfarm.envs.harbor import agent_spec
from envfarm.envs.web.grade import Looks, grade
from envfarm.envs.web.looks import look
from envfarm.envs.web.recording import Recording, RenderJob
from envfarm.envs.web.renderer import Rendered, record
from envfarm.envs.web.site import Site, sift, take_site
from envfarm.tasks.page import Page, load_page
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import FarmFault, SandboxLost
from envfarm.toolbox.sandboxes.base import Sandbox, SandboxSpec
from envfarm.toolbox.tools.base import Tool
from envfarm.toolbox.tools.bash import Bash
from envfarm.toolbox.tools.finish import Finish
from envfarm.toolbox.tools.str_replace import StrReplace

_WHERE = """
Build it in {folder}, which is yours and empty but for what was given. {serve} There is no network: what pages commonly
load from jsDelivr, unpkg, cdnjs, esm.sh and Google Fonts answers at those addresses in the browser, and `npm install`
works offline for the same packages. When it is done, call `finish`.
"""


class WebEnvironment:
    """Plays web tasks, and scores what was built by E · (0.6 · F + 0.4 · V); E · F where the farm has no judge."""

    kind = "web"
    decides = "functional"

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
        assets = task.path / "assets"
        for file in sorted(assets.rglob("*")) if assets.is_dir() else ():
            if file.is_file():
                place = f"{load_page(task.path).folder}/assets/{file.relative_to(assets).as_posix()}"
                await sandbox.write(place, await asyncio.to_thread(file.read_bytes))

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
        rendered = await record(context.fresh, job(task, page), site.tar, assets=task.path / "assets")
        if rendered.recording.outcome == "infra":
            raise FarmFault(f"the page could not be recorded: {rendered.recording.why}")
        looks, said = await look(task, page, rendered, context)
        graded = grade(page, rendered.recording, looks)
        evidence = await asyncio.to_thread(_evidence, context, rendered, site, looks, said)
        return Reward(value=graded.value, parts=graded.parts, evidence=evidence, reason=graded.reason)


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


def _evidence(
    context: ScoreContext, rendered: Rendered, site: Site, looks: Looks | None, said: Mapping[str, bytes]
) -> dict[str, str]:
    put = context.artifacts.put
    evidence = dict(context.saved)
    evidence |= {name: put(data) for name, data in sorted({**rendered.files, **said}.items())}
    recording: Recording = rendered.recording
    parts = {
        "result.json": recording.model_dump_json(indent=1, exclude={"trace", "digests"}).encode(),
        "trace.json": recording.trace.model_dump_json(indent=1).encode(),
        "signals.json": recording.signals.model_dump_json(indent=1).encode(),
        "digests.txt": "".join(f"{digest}\n" for digest in recording.digests).encode(),
    }
    if site.left_out:
        parts["left_out.json"] = json.dumps(site.left_out, indent=1, sort_keys=True).encode()
    if looks is None:
        parts["judge.txt"] = b"no judge is set (setting `judge`): the reward is E * F\n"
    return evidence | {name: put(data) for name, data in parts.items()}
