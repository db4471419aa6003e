"""The `open` tool: a document, by its id, its url or the number of a link; or another part of an open page."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, field_validator

from envfarm.toolbox.search.base import Document, Retriever
from envfarm.toolbox.tools.base import ToolContext, ToolResult
from envfarm.toolbox.tools.pages import (
    Page,
    Pages,
    Refused,
    answer,
    begin,
    document,
    matches,
    refuse,
    retriever,
    show_document,
    show_matches,
    show_results,
)
from envfarm.toolbox.tools.view import Part, lay_out, one_line

_BEFORE = 4  # lines that are shown before a match that is opened
_DIGITS = 18  # of a number; Python refuses to read thousands of them

Target = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}]})]


class OpenArguments(BaseModel):
    """Arguments of `open`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Target = Field(
        None,
        description="Number of a link of the page at `cursor`, or a document's id or url. Left out: that page itself.",
    )
    cursor: int | None = Field(None, ge=0, description="Which open page is meant; left out: the newest.")
    line: int | None = Field(None, ge=0, description="Line to begin at.")
    lines: int | None = Field(None, ge=1, description="How many lines; left out: as many as a view holds.")

    @field_validator("id")
    @classmethod
    def _number_or_name(cls, id: Any) -> Any:
        if id is not None and (isinstance(id, bool) or not isinstance(id, int | str)):
            raise ValueError("must be the number of a link, or the id or url of a document")
        return id


class Open:
    """Opens documents of one version of a corpus."""

    name: ClassVar[str] = "open"
    description: ClassVar[str] = (
        "Open a document: by the number of a link on an open page, or by its id or url. Without `id`, show another "
        "part of an open page, from `line` on. The lines are numbered, L12:, and links too, 【3†words】."
    )
    Arguments: ClassVar[type[BaseModel]] = OpenArguments

    def __init__(self, corpus: str) -> None:
        self.corpus = corpus

    async def call(self, arguments: Any, context: ToolContext) -> ToolResult:
        """The document, or the part of a page, as a new page. Raises SearchUnavailable."""
        source, pages = retriever(context, self.corpus), begin(context)
        try:
            page, line = await _target(arguments, pages, source)
            part = Part(line if arguments.line is None else arguments.line, arguments.lines, context.output_limit)
            cursor = pages.push(page)
            return answer(context, pages, await _shown(page, cursor, source, part))
        except Refused as why:
            return refuse(context, why)


async def _target(arguments: OpenArguments, pages: Pages, source: Retriever) -> tuple[Page, int]:
    """The page that is meant, and the line that it is meant for. Raises Refused."""
    id = arguments.id
    if isinstance(id, str):
        found = await document(source, id)
        if found is not None:
            return _page(found), 0
        if not id.strip().isdecimal() or len(id) > _DIGITS or not pages.open:
            raise Refused(
                f"id {one_line(id, 120)!r}: no document has this id or url; give one that a page showed, or a number"
            )
        id = int(id)
    cursor, page = pages.at(arguments.cursor)
    if id is None:
        return page, 0
    return await _follow(id, cursor, page, source)


async def _follow(number: int, cursor: int, page: Page, source: Retriever) -> tuple[Page, int]:
    """Where a link leads. Raises Refused."""
    if page.kind == "results":
        targets: tuple[str, ...] = page.ids
    else:
        shown = await _document(page.ids[0], source)
        laid = lay_out(shown.text)
        if page.kind == "matches":
            found = matches(laid, page.query)
            if not 0 <= number < len(found):
                raise _no_link(number, cursor, len(found))
            return _page(shown), max(0, found[number] - _BEFORE)
        targets = laid.links
    if not 0 <= number < len(targets):
        raise _no_link(number, cursor, len(targets))
    target = await document(source, targets[number])
    if target is None:
        raise Refused(
            f"link {number} leads out of the corpus, to {one_line(targets[number], 120)}; it cannot be opened"
        )
    return _page(target), 0


def _no_link(number: int, cursor: int, links: int) -> Refused:
    there = f"its links are 0 to {links - 1}" if links else "it has none"
    return Refused(f"id {number}: page [{cursor}] has no such link; {there}; name another page with `cursor`")


async def _document(id: str, source: Retriever) -> Document:
    found = await document(source, id)
    if found is None:
        raise Refused(f"{one_line(id, 120)!r} cannot be opened any more; search again")
    return found


def _page(found: Document) -> Page:
    return Page(kind="document", ids=(found.id,))


async def _shown(page: Page, cursor: int, source: Retriever, part: Part) -> str:
    if page.kind == "results":
        hits = await source.search(page.query, max(1, len(page.ids)))
        return show_results(cursor, page.query, hits, part)
    found = await _document(page.ids[0], source)
    if page.kind == "matches":
        return show_matches(cursor, found, page.query, part)
    return show_document(cursor, found, part)
