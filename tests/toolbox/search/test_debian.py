"""Debian's archive as documents: facts, links both ways, and the true archive of this machine."""

from __future__ import annotations

import pytest

from envfarm.toolbox.search.debian import available, documents
from envfarm.toolbox.search.errors import CorpusError

STANZAS = """\
Package: alpha
Version: 1.0
Section: net
Maintainer: Ann Bee <ann@example.org>
Depends: beta (>= 2), gamma | delta
Description: first things
 A longer text.
 .
 Its end.
Tag: role::program,
 use::testing

Package: beta
Version: 2.1
Section: net
Maintainer: ann bee <other@example.org>
Description: second things

Package: beta
Version: 1.9
Section: old
Maintainer: Nobody
Description: an older one
"""


def test_packages_maintainers_and_sections_lead_to_each_other() -> None:
    found = {one.id: one for one in documents(STANZAS.splitlines(keepends=True))}
    assert sorted(found) == ["maintainer/ann-bee", "package/alpha", "package/beta", "section/net"]
    alpha = found["package/alpha"].text
    assert alpha.startswith(
        "alpha: first things\n\nSection: [net](section/net)\nMaintainer: [Ann Bee](maintainer/ann-bee)"
    )
    assert "Depends: [beta](package/beta) (>= 2), gamma | delta" in alpha
    assert "Tags: role::program, use::testing" in alpha
    assert alpha.endswith("A longer text.\n\nIts end.")
    assert "Version: 2.1" in found["package/beta"].text
    assert "- [alpha](package/alpha)\n- [beta](package/beta)" in found["maintainer/ann-bee"].text
    assert "The 2 packages of the section net" in found["section/net"].text


def test_an_empty_archive_is_an_error() -> None:
    with pytest.raises(CorpusError, match="apt-get update"):
        list(documents([]))


def test_the_archive_of_this_machine_is_a_corpus() -> None:
    try:
        found = {one.id: one for one in documents(available())}
    except CorpusError as error:
        pytest.skip(str(error))
    assert "[libc6](package/libc6)" in found["package/bash"].text
    assert "- [bash](package/bash)" in found["section/shells"].text
