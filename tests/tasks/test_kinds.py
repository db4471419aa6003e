"""What each kind of task needs in its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from envfarm.tasks.folder import load
from envfarm.toolbox.errors import TaskError

MakeFolder = Callable[..., Path]

NO_IMAGE = {"environment/Dockerfile": None}
NO_TESTS = {"tests/test.sh": None}
SWE = '[envfarm]\nkind = "swe"\n'
SEARCH = '[envfarm]\nkind = "search"\n[envfarm.search]\ncorpus = "sha256:0"\n'
OURS = '[envfarm]\nkind = "a-kind-of-my-own"\n'
WEB = '[envfarm]\nkind = "web"\n'
NEEDS_IMAGE = r"environment/Dockerfile: missing; add it, or .*docker_image"
NEEDS_TESTS = r"tests/test.sh: missing; add it.*reward.txt"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (NO_IMAGE, NEEDS_IMAGE),
        (NO_TESTS, NEEDS_TESTS),
        ({"task.toml": SWE}, r"\[envfarm\] runner: missing"),
        ({"task.toml": SWE + 'runner = "pytest"'}, r"\[envfarm\] fail_to_pass: missing"),
        ({"task.toml": SWE, **NO_TESTS}, NEEDS_TESTS),
        ({"task.toml": OURS, **NO_IMAGE}, NEEDS_IMAGE),
        ({"task.toml": OURS, **NO_TESTS}, NEEDS_TESTS),
        ({"task.toml": '[envfarm]\nkind = "search"'}, r"\[envfarm.search\]: missing"),
        ({"task.toml": SEARCH}, "question.json: missing"),
        ({"task.toml": SEARCH + 'tools = ["search", "bash"]', **NO_IMAGE}, NEEDS_IMAGE),
        ({"task.toml": SEARCH + 'tools = ["serch"]'}, r"\[envfarm.search.tools\] 0: "),
        ({"task.toml": WEB, **NO_IMAGE}, NEEDS_IMAGE),
        ({"task.toml": WEB}, "page.toml: missing"),
    ],
)
def test_what_is_missing_is_named(make_folder: MakeFolder, files: dict[str, str | None], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        load(make_folder(**files))


def test_a_task_that_only_searches_has_no_image(make_folder: MakeFolder) -> None:
    task = load(make_folder(**{"task.toml": SEARCH, "question.json": "{}", **NO_IMAGE, **NO_TESTS}))
    assert not task.has_image
    assert load(make_folder("with")).has_image
