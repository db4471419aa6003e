"""A text file's encoding and line ends, kept through an edit."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

# UTF-32's little-endian mark begins with UTF-16's, so it stands first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class NotText(ValueError):
    """The file is binary."""


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file's text, and what is needed to write it back with every other byte as it was."""

    text: str
    encoding: str
    mark: bytes = b""

    def encode(self, text: str) -> bytes:
        """Text in the file's encoding, with its mark. Raises ValueError that names the character."""
        try:
            return self.mark + text.encode(self.encoding, _errors(self.encoding))
        except UnicodeEncodeError as error:
            character = text[error.start]
            raise ValueError(
                f"the file is {self.encoding}, which has no form for {character!r} (U+{ord(character):04X})"
            ) from None

    @property
    def crlf(self) -> bool:
        """Whether every line of it ends with CRLF."""
        return "\r\n" in self.text and not re.search(r"(?<!\r)\n", self.text)


def readings(data: bytes) -> list[TextFile]:
    """How a file can be read as text, the likeliest first. Raises NotText.

    A mark decides. Without one it is UTF-8; where it is not valid UTF-8, either UTF-8 with stray bytes or Latin-1.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return [TextFile(data[len(mark) :].decode(encoding, _errors(encoding)), encoding, mark)]
            except UnicodeDecodeError:
                break
    if b"\0" in data:
        raise NotText
    try:
        return [TextFile(data.decode("utf-8"), "utf-8")]
    except UnicodeDecodeError:
        stray = TextFile(data.decode("utf-8", "surrogateescape"), "utf-8")
        latin = TextFile(data.decode("latin-1"), "latin-1")
        has_utf8 = any(ord(c) > 0x7F and not 0xDC80 <= ord(c) <= 0xDCFF for c in stray.text)
        return [stray, latin] if has_utf8 else [latin, stray]


def with_crlf(text: str) -> str:
    """Every line end as CRLF."""
    return re.sub(r"(?<!\r)\n", "\r\n", text)


def _errors(encoding: str) -> str:
    return "surrogateescape" if encoding == "utf-8" else "strict"
