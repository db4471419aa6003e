"""`envfarm corpus`: builds what search agents search, and looks into it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envfarm.orchestrator.cli.flags import with_settings
from envfarm.orchestrator.cli.output import console, emit_json, table
from envfarm.orchestrator.settings import Loaded
from envfarm.toolbox.errors import BadRequest
from envfarm.toolbox.search.config import KINDS

if TYPE_CHECKING:
    from envfarm.toolbox.search.base import Hit
    from envfarm.toolbox.search.build import Built

app = typer.Typer(help="Build, check and search a corpus of documents.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="CORPUS", help="Folder that `corpus build` made.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("build")
def build(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="JSONL, text, Markdown, HTML, MediaWiki dumps, or folders."),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder of the corpus; a corpus that is there is replaced when all is done.")
    ],
    licence: Annotated[list[str] | None, typer.Option(help="SOURCE=LICENCE, kept in the corpus.")] = None,
    index: Annotated[bool, typer.Option(help="Make its index, too.")] = True,
    json: Json = False,
) -> None:
    """Build a corpus from files and folders, and say what was dropped and why."""
    from envfarm.toolbox.search import build as builder
    from envfarm.toolbox.search import readers
    from envfarm.toolbox.search.corpus import Source

    licences = _licences(licence or [], sources)
    read = [
        (Source(name=str(path), licence=licences.get(str(path), "unknown")), readers.read(path)) for path in sources
    ]
    built = builder.build(read, out, _say)
    _finish(built, out, index)
    if json:
        emit_json(built.manifest.model_dump())


@app.command("sample")
def sample(
    out: Annotated[Path, typer.Option(help="Folder of the corpus.")] = Path("envfarm-data/corpus"),
    index: Annotated[bool, typer.Option(help="Make its index, too.")] = True,
) -> None:
    """Build a real corpus of 60,000 linked documents: the packages, maintainers and sections of Debian's archive."""
    from envfarm.toolbox.search.debian import build_corpus

    _finish(build_corpus(out, _say), out, index)


@app.command("info")
def info(corpus: Folder, json: Json = False) -> None:
    """Show a corpus: its version, its sources with their licences, what was dropped."""
    from envfarm.toolbox.search.corpus import Corpus

    with Corpus.open(corpus) as opened:
        manifest = opened.manifest
    if json:
        emit_json(manifest.model_dump())
        return
    rows = {
        "version": manifest.version,
        "documents": manifest.documents,
        "bytes": manifest.bytes,
        **{f"source {one.name}": f"{one.documents} documents, licence {one.licence}" for one in manifest.sources},
        **{f"dropped: {why}": number for why, number in manifest.dropped.items()},
    }
    table([{"key": key, "value": value} for key, value in rows.items()], ["key", "value"])


@app.command("verify")
def verify(corpus: Folder) -> None:
    """Read all of a corpus and compare its digests."""
    from envfarm.toolbox.search.corpus import Corpus

    with Corpus.open(corpus) as opened:
        opened.verify()
        console.print(f"{len(opened)} documents are as they were built", markup=False)


@app.command("index")
@with_settings("embeddings")
def index(
    loaded: Loaded,
    corpus: Folder,
    retriever: Annotated[str, typer.Option(help=f"{', '.join(KINDS)}.")] = "tantivy",
) -> None:
    """Make an index of a corpus before a server needs it; a dense one goes on where it was stopped."""
    from envfarm.toolbox.search.retrievers import kind_of, open_retriever

    async def made() -> None:
        await (await open_retriever(corpus, kind_of(retriever), loaded.settings.embeddings, _say)).close()

    asyncio.run(made())
    console.print(f"the index {retriever} is there", soft_wrap=True, markup=False)


@app.command("search")
@with_settings("embeddings")
def search(
    loaded: Loaded,
    corpus: Folder,
    query: Annotated[str, typer.Argument(help="Words.")],
    top_k: Annotated[int, typer.Option(help="Hits.", min=1)] = 5,
    retriever: Annotated[str, typer.Option(help=f"{', '.join(KINDS)}.")] = "tantivy",
    json: Json = False,
) -> None:
    """Search a corpus as agents do."""
    from envfarm.toolbox.search.retrievers import kind_of, open_retriever

    async def found() -> list[Hit]:
        opened = await open_retriever(corpus, kind_of(retriever), loaded.settings.embeddings, _say)
        try:
            return await opened.search(query, top_k)
        finally:
            await opened.close()

    hits = asyncio.run(found())
    table([hit.model_dump() for hit in hits], ["id", "title", "score", "snippet"], as_json=json)


def _finish(built: Built, out: Path, index: bool) -> None:
    """Say what became of it, and make its index."""
    from envfarm.toolbox.search.corpus import Corpus
    from envfarm.toolbox.search.index import open_index

    for one in built.dropped:
        console.print(f"dropped: {one.name}: {one.why}", soft_wrap=True, markup=False)
    if index:
        console.print("indexing")
        asyncio.run(open_index(Corpus.open(out)).close())
    state = "built" if built.new else "unchanged"
    console.print(f"{built.manifest.documents} documents, {built.manifest.version}: {state}", soft_wrap=True)


def _licences(given: list[str], sources: list[Path]) -> dict[str, str]:
    known = {str(path) for path in sources}
    found = {}
    for one in given:
        source, equals, licence = one.partition("=")
        if not equals or source not in known:
            raise BadRequest(f"--licence: {one!r}: write SOURCE=LICENCE, with one of {', '.join(sorted(known))}")
        found[source] = licence
    return found


def _say(stage: str, done: int) -> None:
    console.print(f"{stage}: {done} documents", soft_wrap=True, markup=False)
