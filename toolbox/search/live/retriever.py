"""Search in the real web as a retriever: everything that was answered is recorded, and answered so ever after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from envfarm.toolbox.search.base import Document, Hit
from envfarm.toolbox.search.errors import CorpusError, DocumentRefused, SearchUnavailable
from envfarm.toolbox.search.live.config import LiveConfig
from envfarm.toolbox.search.live.fetch import Keep
from envfarm.toolbox.search.live.guard import Hosts
from envfarm.toolbox.search.live.record import Outcome, Recording, What
from envfarm.toolbox.search.live.search_api import read_results
from envfarm.toolbox.search.readers import page_text

T = TypeVar("T")


class Engine(Protocol):
    """What finds pages: a search API. Another one is another class with these two."""

    async def ask(self, query: str) -> Outcome:
        """The answer to a query, as it came. Raises SearchUnavailable."""

    async def close(self) -> None:
        """Let go of the connections."""


class Pages(Protocol):
    """What reads pages."""

    async def page(self, text: str, keep: Keep) -> Outcome:
        """What a url says, or the reason why nothing."""

    async def close(self) -> None:
        """Let go of the connections."""


class Live:
    """The real web, or a recording of it where there are no `engine` and `pages`: a `Retriever`."""

    def __init__(self, config: LiveConfig, recording: Recording, engine: Engine | None, pages: Pages | None) -> None:
        self.version = f"live:{config.name}"
        self._config, self._recording = config, recording
        self._engine, self._pages = engine, pages
        self._hosts = Hosts(config.allow)
        self._listed = False  # whether an answer had results where they are expected
        self._asking: dict[tuple[What, str], asyncio.Task[Any]] = {}

    async def search(self, query: str, top_k: int) -> list[Hit]:
        """The results that can be opened, best first. Raises SearchUnavailable."""
        wanted = " ".join(query.split())
        if not wanted:
            return []
        return (await self._once("search", wanted, self._search(wanted)))[:top_k]

    async def document(self, id: str) -> Document | None:
        """The page of a url; None for what is none. Raises DocumentRefused, SearchUnavailable."""
        if "://" not in id:
            return None
        url = str(self._hosts.permit(id))
        return await self._once("page", url, self._document(url))

    async def close(self) -> None:
        """Let go of the connections."""
        for task in list(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        for one in (self._engine, self._pages):
            if one is not None:
                await one.close()

    async def _search(self, query: str) -> list[Hit]:
        found = await _kept(self._recording.get, "search", query)
        if found is None and self._engine is None:
            raise SearchUnavailable(f"{self.version}: the search {query[:80]!r} is not recorded")
        if found is None and self._engine is not None:
            found = await self._engine.ask(query)
            self._listed |= read_results(found.body, self._config) is not None  # what cannot be read is not kept
            if not self._listed:  # afterwards it means that nothing was found: so say Brave and others
                raise SearchUnavailable(f"live.results: there is no {self._config.results!r} in the API's answer")
            await _kept(self._recording.put, "search", query, found)
        assert found is not None
        hits: dict[str, Hit] = {}
        for hit in read_results(found.body, self._config) or ():
            try:
                url = str(self._hosts.permit(hit.url))
            except DocumentRefused:
                continue
            hits.setdefault(url, hit.model_copy(update={"id": url, "url": url}))
        return list(hits.values())

    async def _document(self, url: str) -> Document:
        found = await _kept(self._recording.get, "page", url)
        if found is None and self._pages is None:
            raise DocumentRefused("it was not recorded; open another page")
        if self._pages is not None and (found is None or found.passing):
            robots: dict[str, Outcome] = {}
            found = await self._pages.page(url, robots.__setitem__)
            for place, answer in robots.items():
                await _kept(self._recording.put, "robots", place, answer)
            await _kept(self._recording.put, "page", url, found)
        assert found is not None
        if found.refused is not None:
            raise DocumentRefused(found.refused)
        return await asyncio.to_thread(_read, url, found)

    async def _once(self, what: What, request: str, work: Coroutine[Any, Any, T]) -> T:
        """Do some work, for all who ask for it at the same time; who gives up does not end it for the others."""
        key = (what, request)
        task: asyncio.Task[T] | None = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(work)
            task.add_done_callback(lambda done: self._ended(key, done))
        else:
            work.close()
        return await asyncio.shield(task)

    def _ended(self, key: tuple[What, str], task: asyncio.Task[Any]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # told to who waited, or nobody is left to be told


def _read(url: str, page: Outcome) -> Document:
    """A page's text. Raises DocumentRefused."""
    if page.type in ("text/plain", "text/markdown"):
        try:
            text = page.body.decode(page.charset or "utf-8", "replace")
        except LookupError:
            text = page.body.decode("utf-8", "replace")
        title = next((row.strip() for row in text.splitlines() if row.strip()), "")[:200]
    else:
        try:
            title, text = page_text(page.body, page.url, page.charset)
        except ValueError:
            raise DocumentRefused("its HTML cannot be read") from None
    if not text.strip():
        raise DocumentRefused("the page has no text without its scripts")
    return Document(id=url, title=title or url, text=text.strip(), url=page.url)


async def _kept(work: Callable[..., T], *arguments: Any) -> T:
    """Read or write the recording in a thread. Raises SearchUnavailable."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except CorpusError as error:
        raise SearchUnavailable(f"the recording cannot be read: {error}") from None
