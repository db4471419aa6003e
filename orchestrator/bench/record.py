"""A page recorded frame by frame in the renderer, against Playwright's `record_video` of the same page and image."""

from __future__ import annotations

import io
import json
import statistics
import tarfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from envfarm.envs.web.recording import RenderJob
from envfarm.envs.web.renderer import record, renderer_spec
from envfarm.orchestrator.bench.report import Row, row
from envfarm.toolbox.errors import SandboxError
from envfarm.toolbox.sandboxes.base import Sandbox, SandboxSpec
from envfarm.toolbox.sandboxes.docker import DockerBackend

SECONDS = 20.0  # of page time
_HEAD = "<!doctype html><html lang='en'><title>Page</title><style>body { font: 16px sans-serif; margin: 24px }"
_CARD = "<div class='card'><h3>Card</h3><p>Some words about it, in two lines or so</p><button>Open</button></div>"
PAGES = {
    "a still page": f"{_HEAD} .card {{ display: inline-block; width: 260px }}</style><h1>Shop</h1>{_CARD * 12}",
    "a page with 12 cards that float": f"""{_HEAD}
        .card {{ display: inline-block; width: 260px; margin: 10px; padding: 8px; border-radius: 12px;
          box-shadow: 0 8px 24px #0003; animation: float 3s infinite alternate }}
        @keyframes float {{ to {{ transform: translateY(20px) rotate(1deg); opacity: .8 }} }}
        </style><h1>Shop</h1>{_CARD * 12}""",
    "a game on a canvas": f"""{_HEAD}</style><canvas id="game" width="1200" height="640"></canvas><script>
        const pen = game.getContext("2d");
        const balls = Array.from({{length: 200}}, (_, i) => [i * 37 % 1200, i * 53 % 640, i]);
        requestAnimationFrame(function draw(now) {{
          pen.clearRect(0, 0, 1200, 640);
          for (const [x, y, i] of balls) {{
            pen.fillStyle = `hsl(${{i * 9}} 80% 50%)`; pen.beginPath();
            pen.arc((x + now / 9) % 1200, y + 30 * Math.sin(now / 300 + i), 12, 0, 7); pen.fill();
          }}
          requestAnimationFrame(draw);
        }});</script>""",
}


@dataclass
class _Bench:
    backend: DockerBackend
    owner: str

    @asynccontextmanager
    async def fresh(self, spec: SandboxSpec) -> AsyncIterator[Sandbox]:
        sandbox = await self.backend.start(spec, owner=self.owner, lease="bench")
        try:
            yield sandbox
        finally:
            await sandbox.close()


async def measure(rounds: int, cache: Path) -> list[Row]:
    """Medians of wall-clock seconds for a second of page time, at 1280×720, in sandboxes of 2 CPUs."""
    bench = _Bench(DockerBackend(), f"bench-{uuid.uuid4().hex[:8]}")
    rows = []
    try:
        for name, page in PAGES.items():
            times = [(await _ours(bench, page), await _peers(bench, page)) for _ in range(min(rounds, 3))]
            ours, theirs = (statistics.median(side) / SECONDS for side in zip(*times, strict=True))
            rows.append(row(f"record {name}, wall time of a page second", "s", ours, theirs, "Playwright record_video"))
    finally:
        await bench.backend.reap(bench.owner, keep=())
        await bench.backend.close()
    return rows


async def _ours(bench: _Bench, page: str) -> float:
    """From the browser's start to the whole video, with stills, layout and accessibility measured on the way."""
    job = RenderJob(mode="exact", seconds=SECONDS)
    recording = (await record(bench.fresh, job, _tar(page))).recording
    if recording.outcome != "ok":
        raise SandboxError(f"the page was not recorded: {recording.why}")
    return recording.trace.seconds["record"] + recording.trace.seconds["encode"]


async def _peers(bench: _Bench, page: str) -> float:
    """The same of a script with Playwright, in the same image: it makes the video and nothing else."""
    async with bench.fresh(renderer_spec()) as sandbox:
        await sandbox.write("/tmp/page.html", page.encode())
        await sandbox.write("/tmp/peer.py", Path(__file__).with_name("record_peer.py").read_bytes())
        command = f"venv/bin/python /tmp/peer.py /tmp/page.html {SECONDS}"
        done = await sandbox.run(command, user="render", cwd="/opt/render", timeout=SECONDS * 5)
        if done.exit_code != 0:
            raise SandboxError(f"the peer failed: {done.stderr.decode(errors='replace')[-500:]}")
        return float(json.loads(done.stdout))


def _tar(page: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("index.html")
        info.size, info.mode = len(page.encode()), 0o644
        archive.addfile(info, io.BytesIO(page.encode()))
    return buffer.getvalue()
