"""Search in a small web, and the same again from its recording when the web is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.search.errors import CorpusError, DocumentRefused, SearchUnavailable
from envfarm.toolbox.search.live.config import LiveConfig
from envfarm.toolbox.search.served import open_served
from envfarm.toolbox.tools.base import ToolContext
from envfarm.toolbox.tools.open import Open, OpenArguments
from envfarm.toolbox.tools.search import Search, SearchArguments

from .small_web import SmallWeb, html, living, small_web


@pytest.fixture
async def web() -> AsyncIterator[SmallWeb]:
    async with small_web() as web:
        web.pages = {
            "site.test/page": html("<h1>Tower</h1><p>A clock.</p>", "Big Ben"),
            "site.test/robots.txt": html(""),
        }
        web.results(web.url("/page"), web.url("/gone"), "https://elsewhere.test/", web.url("/page#again"))
        yield web


async def test_results_that_can_be_opened_and_their_pages(
    web: SmallWeb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "secret")
    async with living(web.config(headers={"X-Key": "API_KEY"}), tmp_path) as live:
        assert live.version == "live:web"
        hits = await live.search("big  ben & co", 20)
        assert [(hit.id, hit.title, hit.snippet) for hit in hits] == [
            (web.url("/page"), "T /page", "some & text"),
            (web.url("/gone"), "T /gone", "some & text"),
        ]
        assert await live.search("big ben & co", 1) == hits[:1]
        assert web.asked == ["? big ben & co"]
        assert web.headers[0]["X-Key"] == "secret"
        found = await live.document(hits[0].id)
        assert found is not None
        assert (found.title, found.text) == ("Big Ben", "# Tower\n\nA clock.")
        assert "X-Key" not in web.headers[-1]
        assert await live.document("3") is None
        assert await live.search(" ", 5) == []


async def test_an_episode_is_replayed_when_the_web_is_gone(tmp_path: Path) -> None:
    async with small_web() as web:
        web.pages = {"site.test/page": html("words")}
        web.results(web.url("/page"), web.url("/gone"))
        async with living(web.config(), tmp_path) as live:
            hits, page = await live.search("q", 5), await live.document(web.url("/page"))
            with pytest.raises(DocumentRefused, match="status 404"):
                await live.document(web.url("/gone"))
            web.pages["site.test/page"] = html("other words")
            assert await live.document(web.url("/page")) == page  # the same for all who ask
    async with living(web.config(mode="replay", url=None), tmp_path) as replayed:
        assert await replayed.search("q", 5) == hits
        assert await replayed.document(web.url("/page")) == page
        with pytest.raises(DocumentRefused, match="status 404"):
            await replayed.document(web.url("/gone"))
        with pytest.raises(DocumentRefused, match="was not recorded"):
            await replayed.document(web.url("/new"))
        with pytest.raises(SearchUnavailable, match="'other' is not recorded"):
            await replayed.search("other", 5)


async def test_what_failed_is_asked_for_again_while_recording(web: SmallWeb, tmp_path: Path) -> None:
    web.pages["site.test/late"] = (503, {}, b"")
    async with living(web.config(), tmp_path) as live:
        with pytest.raises(DocumentRefused, match="status 503"):
            await live.document(web.url("/late"))
        async with living(web.config(mode="replay"), tmp_path) as replayed:
            with pytest.raises(DocumentRefused, match="status 503"):
                await replayed.document(web.url("/late"))
        web.pages["site.test/late"] = html("here")
        assert (await live.document(web.url("/late"))) is not None


async def test_many_ask_at_once_and_one_gives_up(web: SmallWeb, tmp_path: Path) -> None:
    async with living(web.config(), tmp_path) as live:
        tasks = [asyncio.create_task(live.document(web.url("/page"))) for _ in range(20)]
        searches = [asyncio.create_task(live.search("q", 5)) for _ in range(20)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        found = await asyncio.gather(*tasks[1:])
        assert len({one.text for one in found if one}) == 1
        assert all(await asyncio.gather(*searches))
    assert sorted(web.asked) == ["? q", "site.test/page", "site.test/robots.txt"]


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([(500, {})], "does not answer: status 500"),
        ([(401, {})], "does not answer: status 401"),
        ([(200, b"<html>")], "is no JSON"),
        ([(200, {"web": {}})], "there is no 'results' in the API's answer"),
        ([(200, {"results": "x"})], "'results' is no list"),
        ([(200, b"[" + b" " * 9000)], "more than 4096 bytes"),
    ],
)
async def test_an_api_that_fails_is_a_fault_of_the_farm(
    web: SmallWeb, tmp_path: Path, answers: list[tuple[int, object]], why: str
) -> None:
    web.api = list(answers)
    async with living(web.config(size=4096), tmp_path) as live:
        with pytest.raises(SearchUnavailable, match=why):
            await live.search("q", 5)
        web.results(web.url("/page"))
        assert len(await live.search("q", 5)) == 1  # nothing of it was kept
        web.api = [(200, {})]
        assert await live.search("nothing to find", 5) == []
        web.api = [(429, {}), (200, {"results": [{"url": web.url("/page")}, {}, 7]})]
        assert [hit.title for hit in await live.search("tried again", 5)] == [web.url("/page")]


async def test_the_budget_of_searches(web: SmallWeb, tmp_path: Path) -> None:
    async with living(web.config(max_searches=1), tmp_path) as live:
        await live.search("one", 5)
        await live.search("one", 5)
        with pytest.raises(SearchUnavailable, match="max_searches are used up"):
            await live.search("two", 5)


async def test_every_try_is_of_the_budget(web: SmallWeb, tmp_path: Path) -> None:
    web.api = [(429, {})]
    async with living(web.config(max_searches=2), tmp_path) as live:
        with pytest.raises(SearchUnavailable, match="max_searches are used up"):
            await live.search("q", 5)
    assert len(web.asked) == 2


def _break(folder: Path) -> None:
    for file in folder.rglob("live/web/entries/*/*.json"):
        file.write_text("{")


async def test_a_damaged_recording_is_named(web: SmallWeb, tmp_path: Path) -> None:
    async with living(web.config(), tmp_path) as live:
        await live.document(web.url("/page"))
        _break(tmp_path)
        with pytest.raises(SearchUnavailable, match=r"entries/.*: damaged, or its body is missing; remove it"):
            await live.document(web.url("/page"))


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    assert LiveConfig().open(tmp_path) is None
    api = "http://api.test/?q={query}"
    with pytest.raises(CorpusError, match="live/web: no such recording"):
        LiveConfig(name="web", mode="replay").open(tmp_path)
    with pytest.raises(CorpusError, match=r"live\.headers\.X: the variable NO_SUCH is not set"):
        LiveConfig(name="web", url=api, headers={"X": "NO_SUCH"}).open(tmp_path)
    for wrong, why in (
        ({"name": "web"}, r"set live\.url too"),
        ({"name": "web", "url": "http://api.test/"}, "with {query} once"),
        ({"allow": ["http://site.test"]}, "is no host's name"),
    ):
        with pytest.raises(ValueError, match=why):
            LiveConfig.model_validate(wrong)


async def test_the_tools_show_it(web: SmallWeb, tmp_path: Path) -> None:
    web.results(web.url("/page"), web.url("/gone"))
    async with open_served([], "fts", live=web.config().open(tmp_path)) as served:
        assert served.versions == ["live:web"]
        context = ToolContext(None, Artifacts(tmp_path / "a"), "id", 10.0, 10_000, retrievers=served)
        results = await Search("live:web").call(SearchArguments(query="q"), context)
        assert "【0†T /page】" in results.content
        context = ToolContext(None, context.artifacts, "id", 10.0, 10_000, retrievers=served, state=results.state or {})
        opened = await Open("live:web").call(OpenArguments(id=0), context)
        assert "A clock." in opened.content
        refused = await Open("live:web").call(OpenArguments(id=1), context)
        assert refused.is_error
        assert "cannot be opened: the host answers with status 404" in refused.content
        for wrong in ("http://169.254.169.254/", "https://elsewhere.test/"):
            assert (await Open("live:web").call(OpenArguments(id=wrong), context)).is_error
