"""Entries of changelogs as real projects write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from envfarm.tasks.factory import changelog

MARKDOWN = """# Changelog

## 3.3.1 (2024-11-19)

### Fixed

- #253: Fix for allowing some version that were invalid

## 3.3.0 (2024-08-27)

### Added

- #238: Add LessThanEqual and GreaterThanEqual functions
"""

DATED = """# Change log

## [1.4.1] - 2020-03-09

* Regression where `*time.Time` value would be set to empty [GH-236]

## [1.4.0]

* New decode hook
"""

RST = """v7.3.1 (2026-02-01)
===================

- Fix ``copy()`` of a cache.

- Minor documentation improvements.


v7.3.0 (2026-01-10)
===================

- Something older.
"""

OVERLINED = """=======
History
=======

Release 0.5.2 (Nov 14, 2024)
----------------------------

Bug Fixes

* EXTENSION is now recognized as a keyword (issue785).
* SQL hints are not removed anymore (issue262).

Release 0.5.1 (Jul 15, 2024)
----------------------------

Enhancements
"""

LISTED = """Potential Gotchas
-----------------

Version history (in brief)
--------------------------

- 1.20.2 Template field names can now contain - character i.e. HYPHEN-MINUS, chr(0x2d)
- 1.20.1 The `%f` directive accepts 1-6 digits, like strptime (thanks @bbertincourt)
- 1.20.0 Added support for strptime codes (thanks @bendichter)
"""

BOLD = """## **6.12.2**
- [Fix] `parse`: parse encoded square brackets (#506)
- [readme] add CII best practices badge

## **6.12.1**
- [Fix] `parse`: Disable `decodeDotInKeys` by default
"""


@pytest.mark.parametrize(
    ("text", "old", "new", "expected"),
    [
        (MARKDOWN, "v3.3.0", "v3.3.1", "### Fixed\n\n- #253: Fix for allowing some version that were invalid"),
        (DATED, "1.4.0", "1.4.1", "* Regression where `*time.Time` value would be set to empty [GH-236]"),
        (RST, "7.3.0", "7.3.1", "- Fix ``copy()`` of a cache.\n\n- Minor documentation improvements."),
        (
            OVERLINED,
            "0.5.1",
            "0.5.2",
            "Bug Fixes\n\n* EXTENSION is now recognized as a keyword (issue785).\n"
            "* SQL hints are not removed anymore (issue262).",
        ),
        (
            LISTED,
            "1.20.1",
            "1.20.2",
            "Template field names can now contain - character i.e. HYPHEN-MINUS, chr(0x2d)",
        ),
        (
            BOLD,
            "6.12.1",
            "6.12.2",
            "- [Fix] `parse`: parse encoded square brackets (#506)\n- [readme] add CII best practices badge",
        ),
    ],
    ids=["markdown", "dated", "rst", "underlined", "listed", "bold"],
)
def test_extracts_the_entry_of_a_version(text: str, old: str, new: str, expected: str) -> None:
    assert changelog.extract(text, old, new) == expected


def test_joins_the_entries_between_two_versions() -> None:
    entry = changelog.extract(LISTED, "1.20.0", "1.20.2")
    assert entry is not None
    assert "HYPHEN-MINUS" in entry
    assert "1-6 digits" in entry
    assert "strptime codes" not in entry


@pytest.mark.parametrize("version", ["3.3", "3.3.10", "13.3.1", "9.9.9"])
def test_does_not_take_one_version_for_another(version: str) -> None:
    assert changelog.extract(MARKDOWN, "0.1", version) is None


def test_finds_the_changelog_of_a_tree(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("A parser.\n")
    assert changelog.entry(tmp_path, "7.3.0", "7.3.1") is None
    (tmp_path / "docs" / "changes.rst").write_text(RST)
    entry = changelog.entry(tmp_path, "7.3.0", "7.3.1")
    assert entry is not None
    assert entry.startswith("- Fix ``copy()``")


def test_falls_back_to_the_readme(tmp_path: Path) -> None:
    (tmp_path / "README.rst").write_text(LISTED)
    assert changelog.entry(tmp_path, "1.20.1", "1.20.2") is not None
