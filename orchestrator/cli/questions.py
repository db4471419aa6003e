"""`envfarm questions`: makes search tasks of a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from envfarm.orchestrator.cli.output import console
from envfarm.tasks.search.published import SETS
from envfarm.toolbox.errors import BadRequest

app = typer.Typer(help="Make questions that a corpus answers, as task folders.", no_args_is_help=True)


@app.command("build")
def build(
    corpus: Annotated[Path, typer.Argument(metavar="CORPUS", help="Folder that `corpus build` made.")],
    out: Annotated[Path, typer.Option(help="New folder for the tasks.")],
    n: Annotated[int, typer.Option("--n", help="How many.", min=1)] = 10,
    depth: Annotated[
        str, typer.Option(help="Steps from the answer to the farthest clue: a number or a range.")
    ] = "2..4",
    seed: Annotated[int, typer.Option(help="The same seed makes the same questions of the same corpus.")] = 0,
) -> None:
    """Build questions whose one answer is proved on the whole corpus, their depths in turn."""
    from envfarm.tasks.search.build import build_questions

    made = build_questions(corpus, n, _depths(depth), seed, out, _say)
    console.print(
        f"{len(made)} questions in {out}; serve them with `corpora` and `tasks`", markup=False, soft_wrap=True
    )


@app.command("import")
def import_(
    set_: Annotated[str, typer.Argument(metavar="SET", help="|".join(SETS))],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="The set's files, as they are published.")],
    corpus: Annotated[Path, typer.Option(help="Folder of the corpus that they are answered from.")],
    out: Annotated[Path, typer.Option(help="New folder for the tasks.")],
    build_: Annotated[
        bool, typer.Option("--build", help="Make that corpus of the documents that come with the set first.")
    ] = False,
    n: Annotated[int | None, typer.Option("--n", help="At most so many, in their order.", min=1)] = None,
) -> None:
    """Make tasks of a published question set: HotpotQA, 2WikiMultihop, MuSiQue, BrowseComp-Plus, Search-R1's."""
    from envfarm.tasks.search.imports import build_corpus, import_questions
    from envfarm.tasks.search.write import check_new

    check_new(out)
    if build_:
        build_corpus(set_, files, corpus, _say)
    made, dropped = import_questions(set_, files, corpus, out, n)
    for reason, count in dropped.items():
        console.print(f"left out: {count}: {reason}", markup=False)
    console.print(
        f"{len(made)} questions in {out}; serve them with `corpora` and `tasks`", markup=False, soft_wrap=True
    )


def _depths(text: str) -> list[int]:
    first, _, last = text.partition("..")
    if not first.isdecimal() or not (last or first).isdecimal() or int(first) > int(last or first):
        raise BadRequest(f"depth: {text!r}: write a number, or a range such as 2..6")
    return list(range(int(first), int(last or first) + 1))


def _say(stage: str, done: int) -> None:
    if stage == "made" or done % 10_000 == 0:
        console.print(f"{stage}: {done}", markup=False)
