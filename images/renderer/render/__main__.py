"""`python -m render JOB OUT`: records in a child process, ends it at its deadline, and always leaves a result.json."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from envfarm.envs.web.recording import Recording, RenderJob

GRACE = 25.0  # seconds after the job's own deadline, to close the browser and to encode


def main() -> None:
    """Supervise, or with `--inside` be the child."""
    job_file, folder = Path(sys.argv[1]), Path(sys.argv[2])
    job = RenderJob.model_validate_json(job_file.read_bytes())
    if "--inside" in sys.argv:
        from render.record import record

        leave(folder, asyncio.run(record(job, folder)))
        return
    seconds = job.deadline + job.serve.start_seconds + GRACE
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "render", *sys.argv[1:3], "--inside"], stdout=log, stderr=log, start_new_session=True
        )
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            leave(folder, Recording(outcome="timed_out", why=f"killed after {seconds:g} seconds"))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if not (folder / "result.json").exists():
        tail = (folder / "log").read_bytes()[-500:].decode(errors="replace").strip().splitlines()
        leave(folder, Recording(outcome="infra", why=f"the renderer ended early: {tail[-1] if tail else 'no log'}"))


def leave(folder: Path, result: Recording) -> None:
    """Write the result whole or not at all."""
    text = json.dumps(result.model_dump(mode="json"), ensure_ascii=False)  # a page's text may hold half a character
    (folder / "half.json").write_bytes(text.encode(errors="replace"))
    (folder / "half.json").rename(folder / "result.json")


main()
