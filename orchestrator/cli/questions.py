"""`envfarm questions`: makes search tasks of a corpus."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from envfarm.orchestrator.cli.flags import with_settings
from envfarm.orchestrator.cli.output import console
from envfarm.orchestrator.cli.rollout import Concurrency, Model, Name, endpoint, roll_out
from envfarm.orchestrator.settings import Loaded
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

    _say_made(build_questions(corpus, n, _depths(depth), seed, out, _say), out)


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
    _say_made(made, out)


@app.command("calibrate")
@with_settings("corpora", "search_index")
def calibrate(
    loaded: Loaded,
    questions: Annotated[Path, typer.Argument(metavar="QUESTIONS", help="Folder that `questions` made.")],
    model: Model,
    name: Name,
    out: Annotated[Path, typer.Option(help="New folder for the questions within the band.")],
    band: Annotated[str, typer.Option(help="Pass rates that are kept.")] = "0.1..0.9",
    n: Annotated[int, typer.Option("-n", "--attempts", help="Attempts at each question.", min=1)] = 4,
    trajectories: Annotated[Path, typer.Option(help="File of trajectories; it goes on where it was.")] = Path(
        "calibrate.jsonl"
    ),
    concurrency: Concurrency = 8,
) -> None:
    """Let a model answer questions several times, and keep those that it neither always nor never answers.

    The endpoint's key is read from the variable OPENAI_API_KEY.
    """
    from envfarm.orchestrator.rollout.attempt import Options
    from envfarm.orchestrator.rollout.passes import by_task
    from envfarm.tasks.search.keep import Band, Rate, keep, listed
    from envfarm.tasks.search.write import check_new

    wanted = Band.parse(band)
    check_new(out)
    names = [str(row["task"]) for row in listed(questions)]
    chat = endpoint(model, name, concurrency)
    with tempfile.TemporaryDirectory(prefix="envfarm-calibrate-") as data:  # a farm of its own, with these tasks alone
        own = {"url": None, "data": Path(data), "tasks": (questions,), "samples": False}
        settings = loaded.settings.model_copy(update=own)
        done = asyncio.run(roll_out(settings, names, chat, n, trajectories, concurrency, Options(run="calibrate")))
    rates = {task: Rate(sum(passed), len(passed)) for task, passed in by_task(done).items() if passed}
    kept = keep(questions, rates, wanted, out)
    known = [rates[task] for task in names if task in rates]
    easy = sum(rate.share > wanted.high for rate in known)
    hard = sum(rate.share < wanted.low for rate in known)
    console.print(
        f"{len(kept)} of {len(names)} questions kept in {out}; {easy} are too easy, {hard} too hard, "
        f"{len(names) - len(known)} have no reward",
        markup=False,
        soft_wrap=True,
    )


def _depths(text: str) -> list[int]:
    first, _, last = text.partition("..")
    if not first.isdecimal() or not (last or first).isdecimal() or int(first) > int(last or first):
        raise BadRequest(f"depth: {text!r}: write a number, or a range such as 2..6")
    return list(range(int(first), int(last or first) + 1))


def _say_made(made: list[Path], out: Path) -> None:
    console.print(
        f"{len(made)} questions in {out}; serve them with `corpora` and `tasks`", markup=False, soft_wrap=True
    )


def _say(stage: str, done: int) -> None:
    if stage == "made" or done % 10_000 == 0:
        console.print(f"{stage}: {done}", markup=False)
