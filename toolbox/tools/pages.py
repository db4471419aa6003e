"""The pages that an episode has open: a stack with cursors, kept in the tools' state.

A page is what it takes to show it again: the corpus has the rest. State["pages"] is

    {"next": cursor of the next page, "open": [the newest pages], "opened": [ids of documents], "calls": number}
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from envfarm.toolbox.search.base import Document, Hit, Retriever
from envfarm.toolbox.search.errors import DocumentRefused
from envfarm.toolbox.search.served import Served
from envfarm.toolbox.tools.base import State, ToolContext, ToolResult
from envfarm.toolbox.tools.view import Laid, Part, clean, lay_out, one_line, plain, show, wrap

KEY = "pages"
KEPT = 64
"""Pages that keep their cursor; those before are let go."""
OPENED = 4096
"""Documents that are remembered as opened."""
FOUND = 50
"""Matches that `find` shows."""
CONTEXT = 4
"""Lines that it shows of each."""


class Refused(Exception):
    """A call that cannot be answered; the message is for the model and says what to do."""


class Page(BaseModel):
    """One page of the stack. What `find` and `open` show is of the document `ids[0]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["results", "document", "matches"]
    query: str = ""  # what was searched, or the pattern that was to be found
    ids: tuple[str, ...] = ()  # of the results in their order, or of the one document


class Pages(BaseModel):
    """The stack. A copy is changed, and put into the result of a call."""

    model_config = ConfigDict(extra="forbid")

    next: int = 0
    open: list[Page] = []
    opened: list[str] = []  # documents that were shown, each once, in their order
    calls: int = 0

    @classmethod
    def of(cls, state: State) -> Pages:
        """Those of an episode's state."""
        return cls.model_validate(state.get(KEY, {}))

    def at(self, cursor: int | None) -> tuple[int, Page]:
        """A page and its cursor; the newest for None. Raises Refused."""
        if not self.open:
            raise Refused("no page is open yet; call search, or open with the id or url of a document")
        first = self.next - len(self.open)
        cursor = self.next - 1 if cursor is None else cursor
        if not first <= cursor < self.next:
            raise Refused(f"cursor {cursor}: no such page; the open ones are {first} to {self.next - 1}")
        return cursor, self.open[cursor - first]

    def push(self, page: Page) -> int:
        """Open one more page; its cursor."""
        self.open = [*self.open, page][-KEPT:]
        self.next += 1
        if page.kind == "document" and page.ids[0] not in self.opened and len(self.opened) < OPENED:
            self.opened = [*self.opened, page.ids[0]]
        return self.next - 1


def begin(context: ToolContext) -> Pages:
    """The pages as a call finds them, with that call counted."""
    pages = Pages.of(context.state)
    pages.calls += 1
    return pages


def answer(context: ToolContext, pages: Pages, content: str) -> ToolResult:
    """The result of a call that changed the pages."""
    return ToolResult(content=content, state={**context.state, KEY: pages.model_dump(exclude_defaults=True)})


def refuse(context: ToolContext, why: Refused) -> ToolResult:
    """The result of a call that could not be answered; it counts as a call."""
    result = answer(context, begin(context), f"error: {why}")
    result.is_error = True
    return result


def retriever(context: ToolContext, version: str) -> Retriever:
    """What the task's corpus is searched with. Raises SearchUnavailable."""
    return (context.retrievers or Served()).of(version)


async def document(source: Retriever, id: str) -> Document | None:
    """The document of an id or url, None when there is none. Raises Refused, SearchUnavailable."""
    try:
        return await source.document(id)
    except DocumentRefused as why:
        raise Refused(f"{one_line(id, 120)!r} cannot be opened: {why}") from None


def show_results(cursor: int, query: str, hits: list[Hit], part: Part) -> str:
    """The page of a search."""
    lines = [line for number, hit in enumerate(hits) for line in _hit(number, hit)]
    return show(cursor, f"Search results for: {query}", "", lines or ["No document matches; try other words."], part)


def show_document(cursor: int, document: Document, part: Part) -> str:
    """The page of a document. Raises Refused (a line that it has not)."""
    lines = lay_out(document.text).lines
    if part.first >= len(lines):
        raise Refused(f"line {part.first}: the page has lines 0 to {len(lines) - 1}")
    place = document.id if not document.url else f"{document.id}, {document.url}"
    return show(cursor, document.title, place, lines, part)


def matches(laid: Laid, pattern: str) -> list[int]:
    """The lines of a text in which a pattern begins, without those that an earlier match shows."""
    wanted = " ".join(pattern.casefold().split())
    lines = [plain(line) for line in laid.lines]
    found: list[int] = []
    for number, line in enumerate(lines):
        if found and number < found[-1] + CONTEXT:
            continue
        following = lines[number + 1] if number + 1 < len(lines) else ""
        at = " ".join(f"{line} {following}".split()).find(wanted)
        if 0 <= at < max(1, len(line.strip())):
            found.append(number)
    return found[:FOUND]


def show_matches(cursor: int, document: Document, pattern: str, part: Part) -> str:
    """The page of what `find` found."""
    laid = lay_out(document.text)
    found = matches(laid, pattern)
    lines: list[str] = []
    for number, line in enumerate(found):
        lines += ["", f"# 【{number}†match at L{line}】"] if lines else [f"# 【{number}†match at L{line}】"]
        lines += laid.lines[line : line + CONTEXT]
    title = f"Find results for text: {pattern} in {one_line(document.title, 60)}"
    return show(cursor, title, document.id, lines or ["No line matches; try fewer or other words."], part)


def _hit(number: int, hit: Hit) -> list[str]:
    place = one_line(hit.id, 120) + (f", {one_line(hit.url, 120)}" if hit.url else "")
    lines = [f"# 【{number}†{one_line(hit.title, 120)}】", place, *wrap(" ".join(clean(hit.snippet).split()))]
    return ["", *lines] if number else lines
