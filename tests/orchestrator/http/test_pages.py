"""The page of an episode, as a person sees it: in a real browser, with a real film."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import docker
import pytest

from envfarm.envs.base import Reward, ScoreContext
from envfarm.orchestrator.farm.farm import Farm
from envfarm.tasks.spec import Task

Api = Any
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

FILM = "ffmpeg -v error -f lavfi -i testsrc=duration=1:size=320x180:rate=10 -c:v libvpx-vp9 -f webm - | base64"
HOSTILE = "echo '<img src=x onerror=\"document.title=1\"><script>document.title=2</script>'"
LOOK = """
import json, sys
from playwright.sync_api import Error, sync_playwright

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium-headless-shell", args=["--no-sandbox"])
    page, seen = browser.new_page(), {"complaints": []}
    page.on("console", lambda said: seen["complaints"].append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: seen["complaints"].append(str(error)))
    for _ in range(9):  # Docker makes networks meanwhile, and Chromium then lets go of what it loads
        try:
            page.goto(sys.argv[1])
            break
        except Error as error:
            if "ERR_NETWORK_CHANGED" not in str(error):
                raise
    if sys.argv[2:]:
        page.get_by_label("Token").fill(sys.argv[2])
        page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_selector("video", state="attached", timeout=60_000)
    seen["title"] = page.title()
    seen["text"] = page.locator("body").inner_text()
    seen["film"] = page.evaluate('''async () => {
        const film = document.querySelector("video");
        await film.play();
        await new Promise(done => film.onended = done);
        return [film.videoWidth, film.videoHeight, film.currentTime > 0.5];
    }''')
    with page.expect_download() as download:
        page.get_by_role("button", name="video.webm").click()
    seen["saved"] = [download.value.suggested_filename, open(download.value.path(), "rb").read(4).hex()]
    browser.close()
print(json.dumps(seen))
"""

Look = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def look(engine: docker.DockerClient, image: Callable[[str], str]) -> Look:
    """Opens a page in Chromium and says what is seen; with a token, that is given to the page."""

    async def look(*arguments: str) -> dict[str, Any]:
        run = engine.containers.run
        command, name = ["venv/bin/python", "-c", LOOK, *arguments], image("renderer")
        said = await asyncio.to_thread(
            run, name, command, entrypoint="", working_dir="/opt/render", network_mode="host", remove=True
        )
        return dict(json.loads(said))

    return look


@pytest.fixture
def film(engine: docker.DockerClient, image: Callable[[str], str], toy: Any, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A second of film, which the toy environment gives as evidence."""
    data = base64.b64decode(engine.containers.run(image("renderer"), ["sh", "-c", FILM], entrypoint="", remove=True))

    async def score(self: Any, task: Task, context: ScoreContext) -> Reward:
        return Reward(value=0.75, parts={"functional": 0.75}, evidence={"video.webm": context.artifacts.put(data)})

    monkeypatch.setattr(toy, "score", score)
    return data


async def played(api: Api) -> str:
    """The id of an episode with one step and its reward."""
    id = str(await api.running())
    assert (await api.step(id, HOSTILE)).status == 200
    await api.post(f"/v1/episodes/{id}/finish", {})
    assert (await api.get(f"/v1/episodes/{id}/reward?wait=10")).json["status"] == "done"
    return id


async def test_it_shows_steps_and_reward_and_plays_the_film(api: Api, look: Look, film: bytes) -> None:
    id = await played(api)
    digest = (await api.get(f"/v1/episodes/{id}/reward")).json["evidence"]["video.webm"]
    assert (await api.get(f"/v1/artifacts/{digest}")).data == film
    seen = await look(f"{api.url}/episodes/{id}")
    assert seen["complaints"] == []
    assert seen["title"] == "toy/one"  # and nothing that the model wrote has become part of the page
    assert HOSTILE in seen["text"]
    for words in ("0.75", "functional", "Write 1 into /mark", id):
        assert words in seen["text"]
    assert seen["film"] == [320, 180, True]
    assert seen["saved"] == ["video.webm", "1a45dfa3"]  # the first bytes of every WebM


async def test_it_asks_for_a_token_where_one_is_needed(
    farm: Farm, serve: Callable[..., Awaitable[Api]], look: Look, film: bytes
) -> None:
    api = await serve(farm, tokens=["secret"], token="secret")
    seen = await look(f"{api.url}/episodes/{await played(api)}", "secret")
    assert seen["film"] == [320, 180, True]


async def test_it_holds_nothing_itself_and_runs_only_its_own_script(api: Api) -> None:
    one, two = [await api.get(f"/episodes/{id}", headers={"Authorization": ""}) for id in ("ep-1", "ep-1")]
    assert (one.status, one.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"ep-1" not in one.data
    assert one.data != two.data  # a nonce is of use once
    policy = one.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.split("script-src 'nonce-")[1].split("'")[0].encode() in one.data
