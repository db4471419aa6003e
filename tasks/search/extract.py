"""Facts that structured text states: a triple for each, with the words that state it. No model, no guessing.

Read are `Key: value` lines, definition lists (`Term` and below it `: value`; `**Term**: value`), the fields of info
boxes (`| key = value`) and Markdown tables. What is stated as one of several ways (`a | b`), or beside other words, is
no fact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from envfarm.tasks.search.values import day, number
from envfarm.toolbox.search.base import Document

LONGEST_VALUE = 80  # characters; longer ones are prose
_FIELD = re.compile(r"^([A-Z][\w()'/ -]{0,39}): +(\S.*)$", re.MULTILINE)
_BOLD = re.compile(r"^(?:[-*] +)?\*\*([^*\n:]{1,40}):?\*\*:? +(\S.*)$", re.MULTILINE)
_DEFINED = re.compile(r"^(\w[^\n:|]{0,39})\n: +(\S.*)$", re.MULTILINE)
_INFO_BOX = re.compile(r"^ *\| *(\w[\w -]{0,39}?) *= *(\S.*)$", re.MULTILINE)
_FORMS = (
    (_FIELD, ": "),
    (_BOLD, "**"),
    (_DEFINED, "\n: "),
    (_INFO_BOX, "="),
)  # with what every text of that form holds
_TABLE = re.compile(r"(?:^\|.*\|[ \t]*\n){2,}(?:^\|.*\|[ \t]*$)?", re.MULTILINE)
_RULE = re.compile(r"\|(?: *:?-+:? *\|)+")
_LINK = re.compile(r"\[([^\]\[]*)\]\(([^()\s]*)\)")
_ASIDE = re.compile(r"\([^()]*\)")


@dataclass(frozen=True, slots=True)
class Triple:
    """A fact: the subject is an entity, the object another (`linked`) or a literal."""

    subject: str  # id of a document; `document#name` where a table names what has no page
    relation: str  # as the source writes it
    object: str
    linked: bool
    doc: str  # where it is stated
    span: str  # these words of it


def triples(one: Document) -> Iterator[Triple]:
    """The facts of a document, in the order of their forms and lines."""
    for form, mark in _FORMS:
        if mark in one.text:
            for match in form.finditer(one.text):
                yield from _facts(one.id, match[1], match[2], one.id, match[0])
    if "\n|" in one.text or one.text.startswith("|"):
        for table in _TABLE.finditer(one.text + "\n"):
            yield from _table(one, table[0].rstrip().split("\n"))


def _facts(subject: str, relation: str, value: str, doc: str, span: str) -> Iterator[Triple]:
    relation = relation.strip()
    if not relation or len(relation.split()) > 4:
        return
    if "](" not in value:
        for text in _literals(value.strip()):
            yield Triple(subject, relation, text, False, doc, span)
        return
    for item in value.split(", "):
        links = _LINK.findall(item)
        if len(links) != 1 or "|" in item or _ASIDE.sub("", _LINK.sub("", item)).strip():
            continue
        target = links[0][1]
        if target != subject:
            yield Triple(subject, relation, target, True, doc, span)


def _literals(value: str) -> list[str]:
    """One, or those of a list of short words."""
    parts = value.split(", ")
    if len(parts) == 1 or number(value) is not None or day(value) is not None:
        return [value] if len(value) <= LONGEST_VALUE else []
    if all(part and len(part.split()) <= 3 for part in parts):
        return list(dict.fromkeys(part for part in parts if "|" not in part))
    return [value] if len(value) <= LONGEST_VALUE else []


def _table(one: Document, rows: list[str]) -> Iterator[Triple]:
    """Facts of what a row's first cell names; of the document where a table is two columns without a header."""
    header = _cells(rows[0])
    if not _RULE.fullmatch(rows[1].strip()):
        return
    for row in rows[2:]:
        cells = _cells(row)
        if len(cells) != len(header) or not cells[0]:
            continue
        if len(header) == 2 and not header[0]:
            yield from _facts(one.id, _LINK.sub(r"\1", cells[0]).strip("*: "), cells[1], one.id, row)
            continue
        link = _LINK.fullmatch(cells[0])
        subject = link[2] if link else f"{one.id}#{cells[0]}"
        for relation, value in zip(header[1:], cells[1:], strict=True):
            if value:
                yield from _facts(subject, _LINK.sub(r"\1", relation), value, one.id, row)


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]
