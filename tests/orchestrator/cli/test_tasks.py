"""`envfarm tasks list`, `show` and `validate`, as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Make = Callable[..., Path]

REWARD = "/logs/verifier/reward.txt"
FILES = {
    "task.toml": 'artifacts = ["/srv/answer"]\n[verifier]\nenvironment_mode = "separate"\n'
    '[task]\ndescription = "Write 42"\n[environment]\nworkdir = "/srv"\n',
    "instruction.md": "Write 42 to [answer].\n",
    "environment/Dockerfile": "FROM debian:12\n",
    "tests/test.sh": f'#!/bin/sh\n[ "$(cat answer)" = 42 ] && echo 1 > {REWARD} || echo 0 > {REWARD}\n',
    "solution/solve.sh": "#!/bin/sh\necho 42 > answer\n",
}


@pytest.fixture
def make(cli: Any, docker_base: str) -> Make:
    """Writes a sound task folder below the current one; `files` changes files, or takes one away with None."""
    cli.env |= {"ENVFARM_BACKEND": "docker", "ENVFARM_BASE_IMAGES": f"debian:*={docker_base}"}

    def write(place: str, **files: str | None) -> Path:
        for name, text in {**FILES, **files}.items():
            if text is not None:
                path: Path = cli.folder / place / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        return Path(place)

    return write


def test_list_names_what_can_be_played_and_what_is_broken(cli: Any, make: Make) -> None:
    make("set/fine")
    make("set/broken", **{"task.toml": "x ="})
    listed = cli("tasks", "list", "set", "--json")
    [task] = json.loads(listed.stdout)
    assert {key: task[key] for key in ("task", "kind", "description", "path")} == {
        "task": "fine",
        "kind": "terminal",
        "description": "Write 42",
        "path": "set/fine",
    }
    assert "broken: set/broken/task.toml: not valid TOML" in listed.stderr
    assert "Write 42" in cli("tasks", "list", "set").stdout
    assert "terminal/git-secret-in-history" in cli("tasks", "list").stdout  # those that are shipped


def test_show_takes_an_id_or_a_folder(cli: Any, make: Make) -> None:
    folder = make("set/fine")
    shown = json.loads(cli("tasks", "show", folder, "--json").stdout)
    assert shown["instruction"] == FILES["instruction.md"]
    assert shown["config"]["artifacts"] == ["/srv/answer"]
    assert "Write 42 to [answer]." in cli("tasks", "show", "fine", ENVFARM_TASKS="set").stdout
    assert "did you mean 'fine'" in cli.error("tasks", "show", "fien", code=2, ENVFARM_TASKS="set")


def test_validate_prints_an_object_a_task_and_its_exit_code_is_the_answer(cli: Any, make: Make) -> None:
    make("set/fine")
    make("set/unsolved", **{"solution/solve.sh": None})
    make("set/unbuilt", **{"environment/Dockerfile": "FROM debian:12\nRUN exit 9\n"})
    done = cli("tasks", "validate", "set", "--json", "--jobs", "2", code=1)
    verdicts = {line["task"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert {name: line["sound"] for name, line in verdicts.items()} == {
        "fine": True,
        "unsolved": False,
        "unbuilt": False,
    }
    assert list(verdicts["fine"]) == ["task", "kind", "oracle", "noop", "sound", "why", "seconds", "evidence"]
    assert (verdicts["fine"]["oracle"], verdicts["fine"]["noop"], verdicts["fine"]["why"]) == (1.0, 0.0, None)
    assert (verdicts["unsolved"]["oracle"], verdicts["unsolved"]["noop"]) == (None, 0.0)
    assert "the build failed" in verdicts["unbuilt"]["why"]
    assert "1 of 3 tasks are sound" in done.stderr
    [log] = (cli.folder / "envfarm-data/builds").glob("unbuilt-*.log")
    assert str(log.relative_to(cli.folder)) in verdicts["unbuilt"]["why"]


def test_validate_shows_a_table(cli: Any, make: Make) -> None:
    folder = make("one", **{"wrong/no.sh": "#!/bin/sh\necho 41 > answer\n"})
    done = cli("tasks", "validate", folder, "--wrong")
    assert [line.split()[:6] for line in done.stdout.splitlines()] == [
        ["task", "kind", "oracle", "noop", "wrong", "sound"],
        ["one", "terminal", "1", "0", "0.0", "yes"],
    ]


def test_validate_says_what_is_wrong_with_its_input(cli: Any, make: Make) -> None:
    assert cli.error("tasks", "validate", "nowhere", code=2).startswith("nowhere: no such folder")
    (cli.folder / "empty").mkdir()
    assert cli.error("tasks", "validate", "empty", code=2).startswith("empty: no task in it")
    assert "name a folder" in cli.error("tasks", "validate", "--samples", "false", code=2)
    url = f"unix://{cli.folder}/no.sock"
    assert "no.sock" in cli.error("tasks", "validate", make("one"), "--docker-url", url, code=3)


def test_a_key_that_looks_misspelt_is_told(cli: Any, make: Make) -> None:
    folder = make("one", **{"task.toml": "[enviroment]\ncpus = 2\n"})
    said = f"warning: {folder}/task.toml: [enviroment]: not read; did you mean [environment]?"
    for command in ("list", "show"):
        assert said in cli("tasks", command, folder).stderr
    assert said in cli("tasks", "validate", folder).stderr


def test_a_kind_that_is_not_there_is_told_with_its_folder(cli: Any, make: Make) -> None:
    folder = make("one", **{"task.toml": '[envfarm]\nkind = "terminl"\n'})
    [verdict] = map(json.loads, cli("tasks", "validate", folder, "--json", code=1).stdout.splitlines())
    said = f"{folder}/task.toml: [envfarm] kind: no environment is called 'terminl'; did you mean 'terminal'?"
    assert verdict["why"] == said


def test_a_user_that_the_image_lacks_is_named(cli: Any, make: Make) -> None:
    folder = make("one", **{"task.toml": '[agent]\nuser = "nobodyhere"\n'})
    [verdict] = map(json.loads, cli("tasks", "validate", folder, "--json", code=1).stdout.splitlines())
    assert "no such user: nobodyhere; make that user in the image" in verdict["why"]


def test_two_folders_of_one_name_are_told_apart_by_their_paths(cli: Any, make: Make) -> None:
    make("a/x")
    make("b/x", **{"task.toml": "x ="})
    listed = cli("tasks", "list", "a", "b", "--json")
    assert [task["task"] for task in json.loads(listed.stdout)] == ["x"]
    assert listed.stderr.startswith("b/x: b/x/task.toml: not valid TOML")
