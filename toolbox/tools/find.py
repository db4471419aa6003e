"""The `find` tool: where some words stand in an open document."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from envfarm.toolbox.tools.base import ToolContext, ToolResult
from envfarm.toolbox.tools.pages import Page, Refused, answer, begin, document, refuse, retriever, show_matches
from envfarm.toolbox.tools.search import QUERY
from envfarm.toolbox.tools.view import Part


class FindArguments(BaseModel):
    """Arguments of `find`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    pattern: str = Field(description="Words as the document has them; upper and lower case are one.", max_length=QUERY)
    cursor: int | None = Field(None, ge=0, description="Which open page is meant; left out: the newest.")

    @field_validator("pattern")
    @classmethod
    def _not_empty(cls, pattern: str) -> str:
        if not pattern.strip():
            raise ValueError("is empty; give the words to find")
        return pattern


class Find:
    """Finds words in documents of one version of a corpus."""

    name: ClassVar[str] = "find"
    description: ClassVar[str] = (
        "Find words in an open document. Returns a page with up to 50 matches, each with its line and the three after "
        "it; `open` with a match's number shows the document there."
    )
    Arguments: ClassVar[type[BaseModel]] = FindArguments

    def __init__(self, corpus: str) -> None:
        self.corpus = corpus

    async def call(self, arguments: Any, context: ToolContext) -> ToolResult:
        """The matches as a new page. Raises SearchUnavailable."""
        source, pages = retriever(context, self.corpus), begin(context)
        try:
            cursor, page = pages.at(arguments.cursor)
            if page.kind == "results":
                raise Refused(f"page [{cursor}] shows results, in which nothing is found; open one of them first")
            found = await document(source, page.ids[0])
            if found is None:
                raise Refused(f"page [{cursor}] cannot be shown any more; search again")
        except Refused as why:
            return refuse(context, why)
        cursor = pages.push(Page(kind="matches", query=arguments.pattern, ids=page.ids))
        part = Part(limit=context.output_limit)
        return answer(context, pages, show_matches(cursor, found, arguments.pattern, part))
