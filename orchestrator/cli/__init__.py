"""The command line. `main` is the one place that turns an error into a line and an exit code."""

from __future__ import annotations

import sys

from envfarm.toolbox.errors import BadRequest, FarmError, ImageError, TaskError

REFUSED = 1  # the answer is no: an unsound task, a reward below the mark, a replay that differs
WRONG_INPUT = 2  # the caller's input is wrong
STOPPED = 130  # by Ctrl-C, as shells have it: 128 and the signal's number
UNABLE = 3  # the farm cannot: no engine, a database that is locked, no room


def main() -> None:
    """Run `envfarm`; exit codes are 0, and 1 (the answer is no), 2 (wrong input), 3 (the farm cannot), 130 (Ctrl-C)."""
    try:
        from envfarm.orchestrator.cli.app import app  # takes a moment, in which somebody may change their mind

        app(prog_name="envfarm")
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing == "envfarm":
            raise
        sys.stderr.write(
            f"error: there is no {missing}: this is the client of envfarm alone; pip install 'envfarm[server]'\n"
        )
        sys.exit(UNABLE)
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except FarmError as error:
        sys.stderr.write(f"error: {_line(error)}\n")
        if isinstance(error, ImageError) and error.log:
            sys.stderr.write(error.log.rstrip() + "\n")
        sys.exit(code(error))


def code(error: FarmError) -> int:
    """The exit code of an error."""
    return WRONG_INPUT if isinstance(error, BadRequest | TaskError | ImageError) else UNABLE


def _line(error: FarmError) -> str:
    return " ".join(str(error).split()) or type(error).__name__
