"""Diffs in git's form: git applies them."""

from __future__ import annotations

import subprocess

import pytest

from envfarm.envs.changes import Changes, Entry
from envfarm.envs.diff import MAX_DIFF, MAX_LINES, unified


def file(text: str = "", executable: bool = False) -> Entry:
    return Entry("file", text.encode(), executable)


PRISTINE = {"a.py": file("one\ntwo\nthree\n"), "gone.txt": file("x\n"), "no newline": file("a"), "run": file("#!\n")}


def test_git_applies_what_it_says(tmp_path):
    written = {
        "a.py": file("one\nzwei\nthree\n"),
        "no newline": file("b"),
        "run": file("#!\n", True),
        "d/é new": file("n\n"),
    }
    for path, entry in PRISTINE.items():
        (tmp_path / path).write_bytes(entry.data)
    diff = unified(Changes(written, ["gone.txt"]), PRISTINE)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=diff, check=True)
    assert {path: (tmp_path / path).read_bytes() for path in written} == {path: e.data for path, e in written.items()}
    assert (tmp_path / "run").stat().st_mode & 0o111
    assert not (tmp_path / "gone.txt").exists()


@pytest.mark.parametrize("data", [b"\0binary", b"x\n" * (MAX_LINES + 1)])
def test_binary_and_long_files_are_named_with_their_digests(data):
    diff = unified(Changes({"b": Entry("file", data)}), {})
    assert b"files /dev/null (sha256:" in diff
    assert len(diff) < 300


def test_a_diff_has_a_limit():
    written = {f"{number}": file(f"{number:0100000}\n") for number in range(60)}
    diff = unified(Changes(written), {})
    assert len(diff) < MAX_DIFF + 1000
    assert diff.endswith(b"longer than 4 MiB\n")


def test_what_was_left_out_and_why_there_is_none_is_noted():
    diff = unified(Changes(left_out={"conftest.py": "the task's"}, problem="too large"), {})
    assert diff == b"# left out: conftest.py: the task's\n# too large\n"


def test_names_cannot_break_out_of_their_line():
    diff = unified(Changes({'a"\n+++ b/evil': file("x\n")}), {})
    assert b"\n+++ b/evil" not in diff
