"""Keyframes without near-duplicates, and the contact sheet of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw

from envfarm.envs.web.recording import Keyframe

MOST = 12
SMALL = (320, 180)  # the size in which stills are compared
CHANGED = 16  # difference of grey values, of 255, by which a point of that size has changed
ALIKE = 5  # changed points, up to which two stills are the same to a judge


def blank(frame: bytes) -> float:
    """The share of a picture that is its most common colour, 0 to 1."""
    picture = Image.open(io.BytesIO(frame)).convert("L").resize(SMALL)
    return max(picture.histogram()) / (SMALL[0] * SMALL[1])


class Stills:
    """The pictures that a judge is shown, written as they come."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: list[Keyframe] = []
        self._small: list[Image.Image] = []

    def add(self, picture: bytes, *, frame: int, time: float, why: str) -> None:
        """Keep one, unless it looks like the last that was kept or there are enough."""
        small = Image.open(io.BytesIO(picture)).convert("L").resize(SMALL)
        if self._small:
            change = ImageChops.difference(small, self._small[-1]).histogram()
            if sum(change[CHANGED:]) <= ALIKE or len(self.kept) >= MOST:
                return
        name = f"{len(self.kept):02}.jpg"
        (self.folder / name).write_bytes(picture)
        self.kept.append(Keyframe(file=name, frame=frame, time=round(time, 3), why=why[:200]))
        self._small.append(small)

    def contact(self, name: str = "contact.png") -> str | None:
        """One sheet of all; its file, None when there is no still."""
        return contact(self.folder, self.kept, name)


def contact(folder: Path, stills: Sequence[Keyframe], name: str) -> str | None:
    """Three in a row, each with its time and reason below."""
    if not stills:
        return None
    width, height, label = 400, 225, 18
    rows = (len(stills) + 2) // 3
    sheet = Image.new("RGB", (3 * width, rows * (height + label)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, still in enumerate(stills):
        picture = Image.open(folder / still.file).convert("RGB")
        picture.thumbnail((width - 8, height - 4))
        x, y = number % 3 * width, number // 3 * (height + label)
        sheet.paste(picture, (x + (width - picture.width) // 2, y + 2))
        draw.text((x + 6, y + height + 2), f"{still.time:.1f} s  {still.why}"[:60], fill="black")
    sheet.quantize(128).save(folder / name, optimize=True)
    return name
