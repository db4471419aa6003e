"""Which licence a source tree is under, by its package metadata or the text of its licence file."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

_TEXTS = (
    ("Apache-2.0", "apache license"),
    ("MPL-2.0", "mozilla public license"),
    ("AGPL-3.0", "gnu affero general public license"),
    ("LGPL", "gnu lesser general public license"),
    ("GPL", "gnu general public license"),
    ("MIT", "permission is hereby granted, free of charge"),
    ("ISC", "permission to use, copy, modify, and/or distribute this software"),
    ("BSD-3-Clause", "neither the name of"),
    ("BSD-2-Clause", "redistributions in binary form must reproduce"),
    ("Unlicense", "this is free and unencumbered software"),
)
_EXPRESSION = re.compile(r"^License-Expression: (\S[^\n]*)$", re.M)
_CLASSIFIER = re.compile(r"^Classifier: License :: (?:OSI Approved :: )?(.+)$", re.M)


def licence(tree: Path) -> str | None:
    """A short name of the licence, an SPDX expression where the package gives one; None when nothing says."""
    return _declared(tree) or _text(tree)


def _declared(tree: Path) -> str | None:
    for name in ("PKG-INFO", "package.json", "Cargo.toml", "pyproject.toml"):
        if not (tree / name).is_file():
            continue
        text = (tree / name).read_text("utf-8", "replace")
        if name == "PKG-INFO":
            head = text.partition("\n\n")[0]
            if match := _EXPRESSION.search(head) or _CLASSIFIER.search(head):
                return match[1].strip()
            continue
        try:
            data = json.loads(text) if name == "package.json" else tomllib.loads(text)
        except ValueError:
            continue
        table = data if name == "package.json" else data.get("package" if name == "Cargo.toml" else "project", {})
        found = table.get("license")
        if isinstance(found, dict):
            found = found.get("text") or found.get("type")
        if isinstance(found, str) and len(found) < 60:
            return found
    return None


def _text(tree: Path) -> str | None:
    for path in sorted(tree.iterdir()):
        if path.is_file() and re.match(r"(licen[cs]e|copying|unlicense)", path.name, re.I):
            text = " ".join(path.read_text("utf-8", "replace").lower().split())
            for name, mark in _TEXTS:
                if mark in text:
                    return name
    return None
