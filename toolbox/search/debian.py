"""Debian's package archive as documents: a page for each package, maintainer and section, linked with each other.

The source is what `apt-cache dumpavail` prints, stanzas as in deb-control(5): facts that anybody may copy, on every
Debian machine.
"""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from email.utils import parseaddr
from pathlib import Path

from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.build import Built, Report, build
from envfarm.toolbox.search.corpus import Source
from envfarm.toolbox.search.errors import CorpusError

LICENCE = "facts of the package archive; descriptions under the licences of their packages"
_KEPT = ("Version", "Priority", "Source", "Installed-Size", "Homepage", "Multi-Arch", "Essential")
_LINKED = (
    "Pre-Depends",
    "Depends",
    "Recommends",
    "Suggests",
    "Enhances",
    "Provides",
    "Conflicts",
    "Breaks",
    "Replaces",
)
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
Stanza = dict[str, str]


def build_corpus(out: Path, report: Report = lambda stage, done: None) -> Built:
    """Make a corpus of this machine's package lists in a folder. Raises CorpusError, StorageError."""
    source = Source(name="Debian's package archive", licence=LICENCE)
    return build([(source, documents(available()))], out, report)


def available() -> Iterator[str]:
    """The lines that `apt-cache dumpavail` prints. Raises CorpusError."""
    try:
        with subprocess.Popen(["apt-cache", "dumpavail"], stdout=subprocess.PIPE, text=True, errors="replace") as run:
            assert run.stdout is not None
            yield from run.stdout
    except FileNotFoundError:
        raise CorpusError("there is no apt-cache here: this corpus is made on a Debian system") from None
    if run.returncode:
        raise CorpusError(f"apt-cache dumpavail failed with exit code {run.returncode}")


def documents(lines: Iterable[str]) -> Iterator[Document]:
    """Every package once, in its newest version that is listed first, then the maintainers and the sections.

    Raises CorpusError: there are no packages.
    """
    known: dict[str, Stanza] = {}
    for stanza in _stanzas(lines):
        if "Package" in stanza:
            known.setdefault(stanza["Package"], stanza)
    if not known:
        raise CorpusError("apt knows no packages: run `apt-get update` first")
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    titles: dict[tuple[str, str], str] = {}
    for name in sorted(known):
        stanza = known[name]
        for kind, title in (("section", _section(stanza)), ("maintainer", _maintainer(stanza))):
            groups[kind, _slug(title)].append(name)
            titles.setdefault((kind, _slug(title)), title)
        yield _package(name, stanza, known)
    for key in sorted(groups):
        yield _group(key[0], titles[key], groups[key])


def _stanzas(lines: Iterable[str]) -> Iterator[Stanza]:
    stanza: Stanza = {}
    key = ""
    for row in lines:
        row = row.rstrip("\n")
        if not row:
            if stanza:
                yield stanza
            stanza, key = {}, ""
        elif row[0] in " \t":
            if key:
                stanza[key] += "\n" + ("" if row.strip() == "." else row.strip())
        else:
            key, _, value = row.partition(":")
            stanza[key] = value.strip()
    if stanza:
        yield stanza


def _package(name: str, stanza: Stanza, known: dict[str, Stanza]) -> Document:
    summary, _, description = stanza.get("Description", "").partition("\n")
    section, maintainer = _section(stanza), _maintainer(stanza)
    facts = {"Section": _link(section, "section"), "Maintainer": _link(maintainer, "maintainer")}
    facts |= {key: stanza[key] for key in _KEPT if stanza.get(key)}
    for key in _LINKED:
        if stanza.get(key):
            facts[key] = ", ".join(_relation(one, known) for one in stanza[key].split(","))
    tags = [tag.strip() for tag in stanza.get("Tag", "").replace("\n", " ").split(",") if tag.strip()]
    if tags:
        facts["Tags"] = ", ".join(tags)
    listed = "\n".join(f"{key}: {value}" for key, value in facts.items())
    return Document(
        id=f"package/{name}",
        title=name,
        text=f"{name}: {summary}\n\n{listed}\n\n{description}".strip(),
        url=f"https://packages.debian.org/{name}",
        metadata={"kind": "package", "section": section, "maintainer": maintainer},
    )


def _relation(text: str, known: dict[str, Stanza]) -> str:
    """One dependency: alternatives, with their versions, linked where the archive has the package."""
    ways = []
    for way in text.split("|"):
        way = way.strip()
        match = _NAME.match(way)
        name = match[0] if match else ""
        ways.append(_link(name, "package") + way[len(name) :] if name in known else way)
    return " | ".join(ways)


def _group(kind: str, title: str, names: list[str]) -> Document:
    what = "packages of the section" if kind == "section" else "packages that are maintained by"
    listed = "\n".join(f"- {_link(name, 'package')}" for name in names)
    text = f"{title}\n\nThe {len(names)} {what} {title}:\n\n{listed}"
    return Document(id=f"{kind}/{_slug(title)}", title=title, text=text, metadata={"kind": kind})


def _link(title: str, kind: str) -> str:
    return f"[{title}]({kind}/{title if kind == 'package' else _slug(title)})"


def _section(stanza: Stanza) -> str:
    return stanza.get("Section", "unknown")


def _maintainer(stanza: Stanza) -> str:
    name, address = parseaddr(stanza.get("Maintainer", ""))
    return name or address or "unknown"


def _slug(title: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", title.casefold()).strip("-") or "-"
