"""MediaWiki dumps: articles without markup, with their links; as a stream, whatever their size."""

from __future__ import annotations

import bz2
import subprocess
import sys
from pathlib import Path

import pytest

from envfarm.toolbox.search.base import Document
from envfarm.toolbox.search.build import Dropped
from envfarm.toolbox.search.errors import CorpusError
from envfarm.toolbox.search.readers import read

DUMP = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">
<siteinfo><sitename>Test</sitename></siteinfo>
<page><title>Big Ben</title><ns>0</ns><id>1</id><revision><id>9</id><text bytes="9">'''Big Ben''' is a
[[clock|great clock]] in [[London#Sights]].{{Infobox|x=1}} [[File:Ben.jpg|thumb|A [[bell]]]]
== Name ==
See &lt;ref&gt;a book&lt;/ref&gt; [[Westminster]].</text></revision></page>
<page><title>Ben</title><ns>0</ns><redirect title="Big Ben" /><revision><text>#REDIRECT</text></revision></page>
<page><title>Talk:Big Ben</title><ns>1</ns><revision><text>Hello</text></revision></page>
</mediawiki>"""


def test_articles_lose_their_markup_and_keep_their_links(tmp_path: Path) -> None:
    (tmp_path / "wiki.xml.bz2").write_bytes(bz2.compress(DUMP.encode()))
    article, *others = read(tmp_path / "wiki.xml.bz2")
    assert isinstance(article, Document)
    assert (article.id, article.title) == ("Big_Ben", "Big Ben")
    assert "Big Ben is a\n[great clock](clock) in [London#Sights](London)." in article.text
    assert "[Westminster](Westminster)" in article.text
    assert not any(mark in article.text for mark in ("'''", "{{", "[[", "thumb", "=="))
    assert others == [Dropped("Ben", "redirect"), Dropped("Talk:Big Ben", "not an article")]


def test_half_a_dump_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "half.xml").write_text(DUMP[:600])
    with pytest.raises(CorpusError, match="is the download complete"):
        list(read(tmp_path / "half.xml"))
    (tmp_path / "half.xml.bz2").write_bytes(bz2.compress(DUMP.encode())[:200])
    with pytest.raises(CorpusError, match="is the download complete"):
        list(read(tmp_path / "half.xml.bz2"))


def test_a_large_dump_needs_little_memory(tmp_path: Path) -> None:
    page = DUMP[DUMP.index("<page>") : DUMP.index("</page>") + 7]
    with (tmp_path / "large.xml").open("w") as file:
        file.write(DUMP[: DUMP.index("<page>")])
        for number in range(200):
            file.write(page.replace("Big Ben", f"Ben {number}").replace("a book", "text " * 50_000))
        file.write("</mediawiki>")
    script = (
        "import resource, sys; from pathlib import Path; from envfarm.toolbox.search import wiki\n"
        "from xml.etree import ElementTree\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert sum(1 for _ in wiki._pages(Path(sys.argv[1]).open('rb'))) == 200\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", script, tmp_path / "large.xml"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20_000  # KiB, for 50 MB
