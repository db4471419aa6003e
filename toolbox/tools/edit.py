"""The edit of `str_replace`, on text alone: where the old text is, what to say when it is not there once."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from difflib import get_close_matches

from envfarm.toolbox.tools.text import decode
from envfarm.toolbox.tools.textfile import TextFile, with_crlf

_CONTEXT = 3  # lines shown before and after an edit
_SHOWN = 60  # lines shown of an edit
_WIDTH = 400  # characters shown of a line
_LISTED = 20  # matches listed
_SEARCHED = 2000  # lines searched for one that is nearly right


class NoEdit(Exception):
    """The edit cannot be made; the message is for the model."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A text after an edit, and where in it the new text stands (character offsets)."""

    text: str
    start: int
    end: int


def replace(file: TextFile, old: str, new: str) -> Edit | None:
    """The edit, None where `old` does not occur. Raises NoEdit when it occurs more than once."""
    at = _occurrences(file.text, old)
    if not at and "\n" in old and "\r\n" in file.text:
        old, new = with_crlf(old), with_crlf(new)
        at = _occurrences(file.text, old)
    elif file.crlf:
        new = with_crlf(new)
    if not at:
        return None
    if len(at) > 1:
        raise NoEdit(_not_unique(file.text, at))
    start = at[0]
    text = file.text[:start] + new + file.text[start + len(old) :]
    return Edit(text, start, start + len(new))


def show(text: str, start: int, end: int) -> str:
    """The lines around an edit, numbered as `cat -n` does."""
    lines = _lines(text)
    starts = _starts(text)
    first = max(bisect_right(starts, start) - 1 - _CONTEXT, 0)
    last = min(bisect_right(starts, max(end - 1, start)) + _CONTEXT, len(lines))
    numbers = list(range(first, last))
    if len(numbers) > _SHOWN:
        half = _SHOWN // 2
        hidden = len(numbers) - 2 * half
        shown = [_numbered(lines, n) for n in numbers[:half]]
        return "\n".join([*shown, f"[... {hidden} lines ...]", *(_numbered(lines, n) for n in numbers[-half:])])
    return "\n".join(_numbered(lines, n) for n in numbers)


def hint(text: str, old: str) -> str:
    """Why `old` may not be there: the likeliest slip, or nothing."""
    if "\\n" in old and old.replace("\\n", "\n") in text:
        return "`old` has a backslash and an n where the file has a line break: send real line breaks."
    bare = re.sub(r"(?m)^\s*\d+\t", "", old)
    if bare != old and bare.strip() and bare in text:
        return "`old` holds line numbers: leave them out."
    lines, wanted = _lines(text), _lines(old.strip("\r\n"))
    found = _loosely(lines, wanted)
    if found is not None:
        return _whitespace(lines, wanted, found)
    return _nearest(lines, wanted)


def _occurrences(text: str, old: str) -> list[int]:
    """Offsets of every occurrence, overlapping ones too."""
    at: list[int] = []
    found = text.find(old)
    while found >= 0:
        at.append(found)
        found = text.find(old, found + 1)
    return at


def _not_unique(text: str, at: list[int]) -> str:
    starts = _starts(text)
    numbers = [str(bisect_right(starts, offset)) for offset in at[:_LISTED]]
    more = f" and {len(at) - _LISTED} more" if len(at) > _LISTED else ""
    return (
        f"`old` occurs {len(at)} times, at lines {', '.join(numbers)}{more}; it must occur once. "
        "Add lines before or after it to say which one is meant."
    )


def _lines(text: str) -> list[str]:
    """Lines by LF and CRLF alone (str.splitlines also splits at form feeds and the like)."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _starts(text: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer("\n", text))]


def _numbered(lines: list[str], n: int) -> str:
    return f"{n + 1:>6}\t{_shown(lines[n])}"


def _shown(line: str) -> str:
    cut = line if len(line) <= _WIDTH else f"{line[:_WIDTH]}[... {len(line) - _WIDTH} more characters]"
    return decode(cut.encode("utf-8", "surrogateescape"))


def _loosely(lines: list[str], wanted: list[str]) -> int | None:
    """Index of the first line where `wanted` stands when white space does not count."""
    loose = ["".join(line.split()) for line in lines]
    sought = ["".join(line.split()) for line in wanted]
    if not any(sought):
        return None
    if len(sought) == 1:
        return next((n for n, line in enumerate(loose) if sought[0] in line), None)
    for n in range(len(loose) - len(sought) + 1):
        if loose[n] == sought[0] and loose[n : n + len(sought)] == sought:
            return n
    return None


def _whitespace(lines: list[str], wanted: list[str], found: int) -> str:
    differing = next((n for n, line in enumerate(wanted) if line != lines[found + n]), 0)
    return (
        f"White space differs: at line {found + differing + 1} the file has {_quoted(lines[found + differing])} "
        f"where `old` has {_quoted(wanted[differing])}."
    )


def _nearest(lines: list[str], wanted: list[str]) -> str:
    """The line of the file that is most like the first line of `old` that says something."""
    sought = next((line for line in wanted if line.strip()), "")
    if not sought or len(lines) > _SEARCHED:
        return ""
    if sought in lines:
        return f"Its first line is at line {lines.index(sought) + 1}, but the lines after it differ."
    near = get_close_matches(sought[:_WIDTH], [line[:_WIDTH] for line in lines if line.strip()], n=1, cutoff=0.75)
    if not near:
        return ""
    number = next(n for n, line in enumerate(lines) if line[:_WIDTH] == near[0])
    return f"The nearest line is line {number + 1}: {_quoted(lines[number])}."


def _quoted(line: str) -> str:
    """A line with its tabs and blanks to be told apart."""
    return '"' + _shown(line).replace("\t", "\\t") + '"'
