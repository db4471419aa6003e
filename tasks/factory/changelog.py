"""Finds what a project's own changelog says of a version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_NAMES = re.compile(r"^(change[-_ ]?log|changes|history|news|release[-_ ]?notes|releases|whats?[-_ ]?new)\b", re.I)
_KINDS = ("", ".md", ".rst", ".txt", ".markdown")
_UNDERLINE = re.compile(r"^([=\-~^\"'+*#`:.])\1{2,}\s*$")
_MARKDOWN = re.compile(r"^(#{1,6})\s+(\S.*)$")
_VERSION = re.compile(r"(?<![\w.])v?(\d+(?:\.\d+)+(?:[-.]?(?:a|b|rc|alpha|beta|post|dev)[-.]?\d*)?)(?![\w])", re.I)
_BARE = re.compile(r"^(?:[-*]\s+|\*\*)?(?:version|release)?\s*\[?v?(\d+(?:\.\d+)+\w*)\b", re.I)


@dataclass(frozen=True, slots=True)
class _Heading:
    line: int  # where the heading begins
    body: int  # where what stands under it begins
    version: str


def entry(tree: Path, old: str, new: str) -> str | None:
    """What a tree's changelog says of the versions after `old` up to `new`; None when it has no such entry."""
    for file in files(tree):
        text = file.read_text("utf-8", "replace").replace("\r\n", "\n")
        if found := extract(text, old, new):
            return found
    return None


def files(tree: Path) -> list[Path]:
    """Files that may be a changelog, the likeliest first: named like one, at the root or in a folder of documents."""
    found: list[Path] = []
    for folder in (".", "docs", "doc", "docs/source", "doc/source"):
        place = tree / folder
        if place.is_dir():
            found += sorted(path for path in place.iterdir() if path.is_file() and _looks_like_one(path))
    return found + sorted(path for path in tree.iterdir() if path.is_file() and path.name.lower().startswith("readme"))


def extract(text: str, old: str, new: str) -> str | None:
    """The entry of version `new` and of those between it and `old`, in the changelog's own words."""
    lines = text.split("\n")
    old, new = old.removeprefix("v"), new.removeprefix("v")
    for headings in (_marked(lines), _bare(lines)):
        at = next((n for n, heading in enumerate(headings) if heading.version == new), None)
        if at is None:
            continue
        end = len(lines)
        for heading in headings[at + 1 :]:
            if heading.version == old or not _between(heading.version, old, new):
                end = heading.line
                break
        body = "\n".join(lines[headings[at].body : end])
        if cleaned := _clean(body):
            return cleaned
    return None


def _looks_like_one(path: Path) -> bool:
    return path.suffix.lower() in _KINDS and bool(_NAMES.match(path.name)) and path.stat().st_size < 4 << 20


def _marked(lines: list[str]) -> list[_Heading]:
    """Headings with a version, in Markdown (`#`, or underlined) and reStructuredText."""
    found = []
    fenced = False
    for n, line in enumerate(lines):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        if fenced:
            continue
        below = lines[n + 1] if n + 1 < len(lines) else ""
        underlined = bool(line.strip()) and not _UNDERLINE.match(line) and bool(_UNDERLINE.match(below))
        title = match[2] if (match := _MARKDOWN.match(line)) else line if underlined else ""
        if len(title) < 120 and (version := _VERSION.search(title)):
            over = n > 0 and underlined and bool(_UNDERLINE.match(lines[n - 1]))
            found.append(_Heading(n - over, n + 1 + underlined, version[1]))
    return found


def _bare(lines: list[str]) -> list[_Heading]:
    """Versions that begin a line or a list item without further marking (`- 1.20.2 Fix …`)."""
    found = []
    for n, line in enumerate(lines):
        if match := _BARE.match(line):
            rest = line[match.end() :].strip(" :*-–]()")
            found.append(_Heading(n, n if rest else n + 1, match[1]))
    return found


def _between(version: str, old: str, new: str) -> bool:
    return _key(old) < _key(version) <= _key(new)


def _key(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _clean(body: str) -> str:
    """Without blank edges, without what only a site generator reads, and no longer than a statement should be."""
    body = re.sub(
        r"^\.\. [^:\n]+:.*$|^\[[^\]\n]+\]:\s+\S+.*$|<!--.*?-->|^<a (name|id)=.*$", "", body, flags=re.M | re.S
    )
    body = re.sub(r"^(?:[-*]\s+)?v?\d+(?:\.\d+)+\w*\s+(?=\S)", "", body.strip()) if "\n#" not in body else body
    return re.sub(r"\n{3,}", "\n\n", body).strip()[:20_000]
