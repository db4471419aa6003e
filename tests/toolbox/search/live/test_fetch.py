"""Pages over real HTTP: where redirects end, what robots.txt says, and the limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from envfarm.toolbox.search.errors import DocumentRefused

from .small_web import HTML, SmallWeb, html, living, redirect, small_web


@pytest.fixture
async def web() -> AsyncIterator[SmallWeb]:
    async with small_web() as web:
        yield web


async def test_redirects_are_followed_to_listed_hosts(web: SmallWeb, tmp_path: Path) -> None:
    web.pages = {
        "site.test/old": redirect("/new"),
        "site.test/new": redirect(web.url("/there", "a.wide.test")),
        "a.wide.test/there": html("here it is, <a href='next(1)'>next</a>"),
    }
    async with living(web.config(), tmp_path) as live:
        found = await live.document(web.url("/old"))
    assert found is not None
    assert (found.id, found.url) == (web.url("/old"), web.url("/there", "a.wide.test"))
    assert found.text == f"here it is, [next]({web.url('/next%281%29', 'a.wide.test')})"


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("http://evil.test/", "none of the hosts"),
        ("http://127.0.0.1:{port}/page", "addresses cannot be opened"),
        ("http://[::1]:{port}/page", "addresses cannot be opened"),
        ("http://inner.test:{port}/page", "no public host"),
        ("http://u:p@site.test:{port}/page", "without a password"),
        ("file:///etc/passwd", "only http and https"),
        ("/away", "redirects more than 5 times"),
    ],
)
async def test_a_redirect_gets_nowhere_that_a_url_could_not(
    web: SmallWeb, tmp_path: Path, target: str, why: str
) -> None:
    web.pages = {
        "site.test/away": redirect(target.format(port=web.port)),
        "127.0.0.1/page": html("secret"),
        "inner.test/page": html("secret"),
    }
    async with living(web.config(), tmp_path) as live:
        with pytest.raises(DocumentRefused, match=why):
            await live.document(web.url("/away"))
    assert {one.partition("/")[0] for one in web.asked} == {"site.test"}


async def test_no_page_of_a_private_network_is_read(web: SmallWeb, tmp_path: Path) -> None:
    async with living(web.config(private=[]), tmp_path) as live:
        with pytest.raises(DocumentRefused, match="no public host"):
            await live.document(web.url("/page"))
    assert web.asked == []


async def test_robots_txt(web: SmallWeb, tmp_path: Path) -> None:
    rules = b"User-agent: other\nDisallow: /\n\nUser-agent: *\nDisallow: /*secret\nDisallow: /private/$\n"
    web.pages = {
        "site.test/robots.txt": (200, {"Content-Type": "text/plain"}, rules),
        "site.test/page": html("yes"),
        "site.test/private/": html("no"),
        "a.wide.test/robots.txt": (503, {}, b""),
        "a.wide.test/page": html("no"),
    }
    async with living(web.config(), tmp_path) as live:
        assert await live.document(web.url("/page")) is not None
        for path in ("/a/secret", "/private/"):
            with pytest.raises(DocumentRefused, match=r"robots\.txt"):
                await live.document(web.url(path))
        with pytest.raises(DocumentRefused, match=r"robots\.txt cannot be had"):  # so nothing is allowed
            await live.document(web.url("/page", "a.wide.test"))
    assert web.asked == ["site.test/robots.txt", "site.test/page", "a.wide.test/robots.txt"]
    assert {one["User-Agent"] for one in web.headers} == {"envfarm"}


async def test_many_who_begin_with_a_host_ask_for_its_robots_txt_once(web: SmallWeb, tmp_path: Path) -> None:
    web.pages = {f"site.test/{number}": html(f"page {number}") for number in range(20)}
    async with living(web.config(), tmp_path) as live:
        found = await asyncio.gather(*(live.document(web.url(f"/{number}")) for number in range(20)))
    assert [one.text for one in found if one] == [f"page {number}" for number in range(20)]
    assert web.asked.count("site.test/robots.txt") == 1


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((404, {}, b""), "status 404"),
        ((500, {}, b""), "status 500"),
        ((200, {"Content-Type": "application/pdf"}, b"%PDF"), "application/pdf, which cannot be read as text"),
        ((200, HTML, b"x" * 5000), "more than 4096 bytes"),
        ((200, HTML, b"<script>only()</script>"), "no text without its scripts"),
        ((200, HTML, b"<i>" * 1300), "HTML cannot be read|no text"),
    ],
)
async def test_what_is_no_text_is_refused(
    web: SmallWeb, tmp_path: Path, answer: tuple[int, dict[str, str], bytes], why: str
) -> None:
    web.pages = {"site.test/page": answer}
    async with living(web.config(size=4096), tmp_path) as live:
        with pytest.raises(DocumentRefused, match=why):
            await live.document(web.url("/page"))


async def test_plain_text_and_odd_charsets(web: SmallWeb, tmp_path: Path) -> None:
    web.pages = {
        "site.test/a": (200, {"Content-Type": "text/plain; charset=latin-1"}, "\nCaf\xe9\nmore".encode("latin-1")),
        "site.test/b": (200, {"Content-Type": "text/plain; charset=none-such"}, "Café".encode()),
        "site.test/c": (200, {"Content-Type": "text/html; charset=none-such"}, b"<title>T</title>words"),
    }
    async with living(web.config(), tmp_path) as live:
        texts = [await live.document(web.url(path)) for path in ("/a", "/b", "/c")]
    assert [(one.title, one.text) for one in texts if one] == [("Café", "Café\nmore"), ("Café", "Café"), ("T", "words")]


async def test_a_host_that_stalls_or_is_asked_too_often(web: SmallWeb, tmp_path: Path) -> None:
    async with living(web.config(timeout=1.0), tmp_path) as live:
        with pytest.raises(DocumentRefused, match="did not answer within 1 s"):
            await live.document(web.url("/never"))
    async with living(web.config(host_rate=0.001), tmp_path) as live:
        with pytest.raises(DocumentRefused, match="too many pages at the moment"):
            await live.document(web.url("/page"))  # robots.txt had the turn
