"""Tasks by what a person calls them: their ids, or what ids begin with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from envfarm.toolbox.errors import BadRequest


def chosen(names: Sequence[str], ids: Iterable[str]) -> list[str]:
    """The ids that are meant, each once; a dataset's name means all of its tasks. Raises BadRequest."""
    known = list(ids)
    found: dict[str, None] = {}
    for name in names:
        some = [id for id in known if id == name or id.startswith(f"{name.rstrip('/')}/")]
        if not some:
            near = difflib.get_close_matches(name, [*known, *{id.partition("/")[0] for id in known}], 1)
            advice = f"did you mean {near[0]!r}?" if near else "`envfarm tasks list` has them"
            raise BadRequest(f"no task and no dataset is called {name!r}; {advice}")
        found |= dict.fromkeys(some)
    return list(found)
