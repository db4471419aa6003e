"""Pictures of one colour, and a judge that looks at the pixels it is sent."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from typing import Any

from ...toolbox.chat_server import Asked, Says

GOOD, BAD = (20, 120, 220), (255, 255, 255)  # a page that is drawn, and a blank one


def png(colour: tuple[int, int, int], width: int = 4, height: int = 3) -> bytes:
    """A PNG of one colour."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = (b"\0" + bytes(colour) * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def first_pixel(data: bytes) -> tuple[int, int, int]:
    """The colour in the corner of such a PNG."""
    at = data.index(b"IDAT")
    (length,) = struct.unpack(">I", data[at - 4 : at])
    pixels = zlib.decompress(data[at + 4 : at + 4 + length])
    return pixels[1], pixels[2], pixels[3]


def vote(leaves: list[str], answer: bool = True, frames: list[int] | None = None, **addressed: Any) -> str:
    """An answer as a well-behaved model writes it."""
    cited = [1] if frames is None else frames
    answers = [{"leaf": leaf, "why": "seen", "frames": cited, "answer": answer} for leaf in leaves]
    return json.dumps(
        {"answers": answers, "addressed_to_judge": {"found": False, "words": "", "frame": None} | addressed}
    )


def looks(body: Asked) -> Says:
    """Reads the real prompt, decodes the pictures, and says yes where one of them is not white."""
    parts = body["messages"][1]["content"]
    words = "\n".join(part["text"] for part in parts if part["type"] == "text")
    leaves = re.findall(r'"leaf": "([^"]+)"', words)
    numbers = [int(number) for number in re.findall(r"^Frame (\d+),", words, re.MULTILINE)]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    colours = [first_pixel(base64.b64decode(url.partition(",")[2])) for url in urls]
    drawn = [number for number, colour in zip(numbers, colours, strict=True) if colour != BAD]
    return Says(vote(leaves, answer=bool(drawn), frames=drawn))
