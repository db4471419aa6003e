"""The root of the command line, and what hangs on it."""

from __future__ import annotations

from typing import Annotated

import typer

import envfarm
from envfarm.orchestrator.cli import (
    bench,
    config,
    corpus,
    doctor,
    episodes,
    judge,
    questions,
    replay,
    rollout,
    run,
    serve,
    shell,
    tasks,
)

app = typer.Typer(
    help="An environment farm for agentic reinforcement learning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(envfarm.__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Serve episodes of sandboxed tasks over HTTP, and work with tasks and episodes."""


app.command()(serve.serve)
app.add_typer(tasks.app, name="tasks")
app.add_typer(episodes.app, name="episodes")
app.add_typer(corpus.app, name="corpus")
app.add_typer(questions.app, name="questions")
app.add_typer(judge.app, name="judge")
app.command()(run.run)
app.command()(rollout.rollout)
app.command()(replay.replay)
app.command()(shell.shell)
app.command()(bench.bench)
app.command()(doctor.doctor)
app.command()(config.config)
