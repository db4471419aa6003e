"""Reads documents out of files: JSONL, plain text, Markdown, HTML and MediaWiki dumps, each as a stream."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import orjson
from pydantic import ValidationError

from envfarm.toolbox.explain import explain
from envfarm.toolbox.search import wiki
from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.build import Dropped
from envfarm.toolbox.search.errors import CorpusError
from envfarm.toolbox.search.unpack import unpacked

Items = Iterator[Document | Dropped]
_LINK = re.compile(r"(\[[^\]\[]*\])\(([^()\s]+)(?:\s+\"[^\"]*\")?\)")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


def read(path: Path) -> Items:
    """The documents of a file, or of every file below a folder that has a reader, by name.

    Raises CorpusError: there is no such file, nobody reads it, or it is broken.
    """
    if path.is_dir():
        for file in sorted(one for one in path.rglob("*") if one.is_file() and not _hidden(one, path)):
            name = file.relative_to(path).as_posix()
            reader = _reader(file)
            if reader is None:
                yield Dropped(name, "no reader")
            else:
                yield from reader(file, name)
        return
    if not path.exists():
        raise CorpusError(f"{path}: no such file or folder")
    reader = _reader(path)
    if reader is None:
        raise CorpusError(f"{path}: nobody reads {path.suffix or 'that'}; there are {', '.join(sorted(_READERS))}")
    yield from reader(path, path.name)


def _hidden(file: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(root).parts)


def _reader(path: Path) -> Callable[[Path, str], Items] | None:
    suffixes = [one.lower() for one in path.suffixes]
    while suffixes and suffixes[-1] in (".bz2", ".gz"):
        suffixes.pop()
    return _READERS.get(suffixes[-1]) if suffixes else None


def _text(path: Path) -> str | None:
    """A file's text; None for one that is none."""
    with unpacked(path) as file:
        data = file.read()
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def jsonl(path: Path, name: str) -> Items:
    """A document a line, with the fields of `Document`."""
    with unpacked(path) as file:
        for number, row in enumerate(file, 1):
            if not row.strip():
                continue
            try:
                yield Document.model_validate(orjson.loads(row))
            except orjson.JSONDecodeError as error:
                raise CorpusError(f"{path}:{number}: not JSON: {error}; write one object a line") from None
            except ValidationError as error:
                raise CorpusError(f"{path}:{number}: {explain(error, Document)}") from None


def plain(path: Path, name: str) -> Items:
    """The whole file; its first line is the title."""
    text = _text(path)
    if text is None:
        yield Dropped(name, "binary")
        return
    first = next((row.strip() for row in text.splitlines() if row.strip()), "")
    yield Document(id=_id(name), title=first[:200], text=text.strip())


def markdown(path: Path, name: str) -> Items:
    """The whole file; its first heading is the title, and links to files of the source lead to their documents."""
    text = _text(path)
    if text is None:
        yield Dropped(name, "binary")
        return
    yield _marked(text, name)


def html(path: Path, name: str) -> Items:
    """The whole page as Markdown, without scripts, styles and navigation."""
    text = _text(path)
    if text is None:
        yield Dropped(name, "binary")
        return
    try:
        title, words = page_text(text)
    except ValueError:
        yield Dropped(name, "broken")
        return
    one = _marked(words, name)
    yield one.model_copy(update={"title": title}) if title else one


def page_text(page: str | bytes, base: str = "", charset: str | None = None) -> tuple[str, str]:
    """The title of an HTML page, and its text as Markdown with links made absolute by a base.

    Raises ValueError: it is nested too deeply, or broken beyond reading.
    """
    from bs4 import BeautifulSoup
    from bs4.exceptions import ParserRejectedMarkup
    from markdownify import MarkdownConverter

    try:
        soup = BeautifulSoup(page, "html.parser", from_encoding=charset if isinstance(page, bytes) else None)
        title = " ".join(soup.title.get_text(" ").split()) if soup.title else ""
        for tag in soup(["script", "style", "nav", "header", "footer", "noscript", "template", "svg", "img", "title"]):
            tag.decompose()
        for link in soup("a", href=True) if base else ():
            link["href"] = _absolute(base, str(link["href"]))
        made = MarkdownConverter(heading_style="ATX", escape_asterisks=False, escape_underscores=False)
        return title, made.convert_soup(soup.body or soup)
    except (RecursionError, ParserRejectedMarkup) as error:
        raise ValueError(f"HTML that cannot be read: {type(error).__name__}") from None


def _absolute(base: str, target: str) -> str:
    """Where a link leads, without what would end a Markdown link."""
    try:
        found = urljoin(base, target.strip())
    except ValueError:
        return ""
    return found.replace("(", "%28").replace(")", "%29").replace(" ", "%20")


def _marked(text: str, name: str) -> Document:
    found = _HEADING.search(text)

    def leads(match: re.Match[str]) -> str:
        target = match[2]
        parts = urlsplit(target)
        if parts.scheme or parts.netloc or not parts.path or parts.path.startswith("/"):
            return match[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(parts.path)))
        return f"{match[1]}({_id(place)})"

    return Document(
        id=_id(name), title=found[1] if found else posixpath.basename(_id(name)), text=_LINK.sub(leads, text).strip()
    )


def _id(name: str) -> str:
    """A file's name in its source without its ending."""
    base, ending = posixpath.splitext(name)
    while ending.lower() in (".gz", ".bz2"):
        base, ending = posixpath.splitext(base)
    return base


_READERS: dict[str, Callable[[Path, str], Items]] = {
    ".jsonl": jsonl,
    ".txt": plain,
    ".md": markdown,
    ".markdown": markdown,
    ".html": html,
    ".htm": html,
    ".xml": wiki.articles,
}
