"""`envfarm judge calibrate`: a scripted judge over the real wire, on texts and on a filmed page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ...toolbox.chat_server import Asked, Says, chat_server

RUBRIC = """[envfarm.rubric]
leaves = [{id = "cause", statement = "It names a cause."}, {id = "short", statement = "It is short."}]
"""
PAGE = """category = "tool"
seconds = 2
[[steps]]
name = "as it comes"
action = "none"
checks = [{text = "Clock"}]
[[leaves]]
id = "blue"
group = "visual"
statement = "It is blue."
"""


def opinion(asked: Asked) -> Says:
    """Short is everything; a cause is named where the word is; every page is blue, by its first frame."""
    content = asked["messages"][1]["content"]
    work = json.dumps(content).partition("The work:")[2]
    leaves = [one for one in ("cause", "short", "blue") if f'"leaf": "{one}"' in content[0]["text"]]
    yes = {"cause": "because" in work, "short": True, "blue": True}
    answers = [{"leaf": one, "why": "", "frames": [1] if one == "blue" else [], "answer": yes[one]} for one in leaves]
    return Says(json.dumps({"answers": answers, "addressed_to_judge": {"found": False, "words": "", "frame": None}}))


@pytest.fixture
def report(cli: Any, docker_base: str) -> Path:
    """A task with a rubric and texts, in the command's folder."""
    cli.env.update(ENVFARM_BACKEND="docker", ENVFARM_SAMPLES="false", ENVFARM_TASKS="tasks", ENVFARM_WARM="0")
    folder = Path(cli.folder) / "tasks" / "mine" / "report"
    for name, text in {
        "task.toml": f'[environment]\ndocker_image = "{docker_base}"\n{RUBRIC}',
        "instruction.md": "Say why.\n",
        "tests/test.sh": "true\n",
        "rubric/good-one.md": "It broke because of rain.",
        "rubric/bad-one.md": "It broke.",
        "rubric/bad-two.md": "It broke again.",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


async def run(cli: Any, url: str, *names: str, code: int = 0) -> Any:
    env = {"ENVFARM_JUDGE__URL": url, "ENVFARM_JUDGE__MODEL": "m", "ENVFARM_JUDGE__VOTES": "3"}
    return await asyncio.to_thread(lambda: cli("judge", "calibrate", *names, "--json", code=code, **env))


async def test_texts_are_ranked(cli: Any, report: Path) -> None:
    async with chat_server() as server:
        server.script = [opinion]
        said = json.loads((await run(cli, server.url, "mine")).stdout)
        assert {one["work"]: one["score"] for one in said["cases"]} == {
            "good-one.md": 1.0,
            "bad-one.md": 0.5,
            "bad-two.md": 0.5,
        }
        summary = said["summary"]
        assert (summary["ranking"], summary["polarity"], summary["agreement"]) == (1.0, 1.0, 1.0)
        assert (summary["calls"], summary["tokens"]) == (9, 9 * 110)
        again = json.loads((await run(cli, server.url, "mine/report")).stdout)
        assert (again["summary"]["calls"], again["summary"]["ranking"]) == (0, 1.0)  # out of the cache


async def test_a_page_and_its_mutant_are_judged_by_their_frames(
    cli: Any, report: Path, image: Callable[[str], str]
) -> None:
    image("renderer")
    folder = report.parent / "page"
    write = "cat > /app/index.html <<E\n<title>x</title><h1>Clock</h1>{more}\nE\n"
    for name, text in {
        "task.toml": (report / "task.toml").read_text().replace(RUBRIC, '[envfarm]\nkind = "web"\n'),
        "instruction.md": "A clock.\n",
        "page.toml": PAGE,
        "solution/solve.sh": "#!/bin/sh\n" + write.format(more=""),
        "wrong/bare.sh": "#!/bin/sh\n" + write.format(more="<p>bare</p>"),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    async with chat_server() as server:
        server.script = [opinion]
        said = json.loads((await run(cli, server.url, "mine/page")).stdout)
        assert all(server.images)
    assert (said["summary"]["judged"], said["summary"]["ranking"], said["summary"]["polarity"]) == (2, 0.5, 0.0)


async def test_what_is_missing_is_told(cli: Any, report: Path) -> None:
    assert "none is set" in cli.error("judge", "calibrate", "mine", code=2)
    async with chat_server() as server:
        assert "no task and no dataset is called 'other'" in (await run(cli, server.url, "other", code=2)).stderr
        (report / "rubric" / "so-so.md").write_text("x")
        assert "call it good-so-so.md or bad-so-so.md" in (await run(cli, server.url, "mine", code=2)).stderr
        for path in (report / "rubric").iterdir():
            path.unlink()
        assert "rubric/good-*" in (await run(cli, server.url, "mine", code=2)).stderr
