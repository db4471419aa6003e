"""Settings as command-line flags: one option for each name, described as the setting is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar, get_type_hints

import typer

from envfarm.orchestrator.settings import Loaded, Settings, load

P = ParamSpec("P")
R = TypeVar("R")


def with_settings(*names: str) -> Callable[[Callable[Concatenate[Loaded, P], R]], Callable[..., R]]:
    """Make a command's first parameter the settings in force, with flags for the ones named (none: for all).

    The command raises SettingsError for a flag, a variable or a file that cannot be used.
    """
    chosen = names or tuple(Settings.model_fields)

    def decorate(command: Callable[Concatenate[Loaded, P], R]) -> Callable[..., R]:
        @wraps(command)
        def run(*args: Any, **kwargs: Any) -> R:
            flags = {name: kwargs.pop(_parameter(name)) for name in chosen}
            return command(load(flags), *args, **kwargs)

        signature = inspect.signature(command)
        hints = get_type_hints(command, include_extras=True)
        own = [
            parameter.replace(annotation=hints[parameter.name]) for parameter in list(signature.parameters.values())[1:]
        ]
        taken = {parameter.name for parameter in own}
        added = [_option(name) for name in chosen if _parameter(name) not in taken]
        run.__signature__ = signature.replace(parameters=own + added, return_annotation=None)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in own + added}
        return run

    return decorate


def _parameter(name: str) -> str:
    return f"setting_{name}"  # apart from the command's own parameters


def _option(name: str) -> inspect.Parameter:
    described = typer.Option(
        f"--{name.replace('_', '-')}",
        help=Settings.model_fields[name].description,
        rich_help_panel="Settings",
        show_default=False,
        metavar="VALUE",
    )
    annotation = Annotated[str | None, described]
    return inspect.Parameter(_parameter(name), inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
