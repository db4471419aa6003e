"""Reads MediaWiki XML dumps (export-0.10, export-0.11) as a stream: the markup goes, the links stay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

import mwparserfromhell
from mwparserfromhell.wikicode import Wikicode

from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.build import Dropped
from envfarm.toolbox.search.errors import CorpusError
from envfarm.toolbox.search.unpack import unpacked


@dataclass(slots=True)
class _Page:
    title: str = ""
    namespace: str = ""
    text: str = ""
    redirect: bool = False


def articles(path: Path, name: str) -> Iterator[Document | Dropped]:
    """The articles of a dump; redirects and the pages of other namespaces are dropped. Raises CorpusError."""
    try:
        with unpacked(path) as file:
            for page in _pages(file):
                if page.redirect:
                    yield Dropped(page.title, "redirect")
                elif page.namespace not in ("", "0"):
                    yield Dropped(page.title, "not an article")
                else:
                    yield Document(id=page.title.replace(" ", "_"), title=page.title, text=_plain(page.text))
    except (ElementTree.ParseError, EOFError) as error:
        raise CorpusError(f"{path}: not a whole MediaWiki dump: {error}; is the download complete?") from None


def _pages(file: IO[bytes]) -> Iterator[_Page]:
    page = _Page()
    parents: list[ElementTree.Element] = []
    for event, element in ElementTree.iterparse(file, events=("start", "end")):
        if event == "start":
            parents.append(element)
            continue
        parents.pop()
        match element.tag.rpartition("}")[2]:
            case "title":
                page.title = element.text or ""
            case "ns":
                page.namespace = element.text or ""
            case "redirect":
                page.redirect = True
            case "text":
                page.text = element.text or ""
            case "page":
                yield page
                page = _Page()
                parents[-1].clear()  # a dump is larger than memory


def _plain(text: str) -> str:
    code: Wikicode = mwparserfromhell.parse(text)
    for link in code.filter_wikilinks(recursive=False):
        target = str(link.title).partition("#")[0].strip()
        words = str(link.text or link.title).strip()
        code.replace(link, "" if ":" in target else f"[{words}]({target.replace(' ', '_')})")
    return str(code.strip_code(keep_template_params=False)).strip()
