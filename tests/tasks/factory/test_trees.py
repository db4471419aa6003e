"""Which files are tests, which are the fix, and the patch between two trees."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from envfarm.tasks.factory import trees
from envfarm.tasks.factory.registries.base import Release
from envfarm.tasks.runners.go import Go
from envfarm.tasks.runners.pytest import Pytest
from envfarm.toolbox.errors import BadRequest


def _write(tree: Path, **files: str) -> Path:
    for name, text in files.items():
        path = tree / name.replace("__", "/").replace("_py", ".py").replace("_md", ".md")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tree


def test_a_folder_stands_for_tests_that_fill_it() -> None:
    files = [
        "src/a.py",
        "tests/test_a.py",
        "tests/data/x.json",
        "src/b/tests/test_b.py",
        "test_c.py",
        "docs/conftest.py",
    ]
    chosen = [name for name in files if name != "src/a.py"]
    assert trees.test_paths(files, chosen) == ["docs", "src/b", "test_c.py", "tests"]
    assert trees.test_paths([*files, "docs/index.md", "src/b/c.py"], chosen) == [
        "docs/conftest.py",
        "src/b/tests",
        "test_c.py",
        "tests",
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("src/adder/add.py", True),
        ("src/adder/data.txt.in", True),
        ("adder/templates/base.html", True),
        ("tests/test_add.py", False),
        ("conftest.py", False),
        ("README.md", False),
        ("docs/conf.py", False),
        ("CHANGES", False),
        ("README", False),
        ("NEWS", False),
        ("HISTORY", False),
        ("INSTALL", False),
        ("TODO", False),
        ("src/adder/history.py", True),
        ("install.sh", True),
        ("setup.py", False),
        ("pyproject.toml", False),
        ("adder.egg-info/SOURCES.txt", False),
        (".github/workflows/test.yml", False),
        ("tox.ini", False),
        ("sitecustomize.py", False),
    ],
)
def test_a_fix_is_code(name: str, expected: bool) -> None:
    assert trees.is_fix(name, Pytest()) is expected


def test_what_steers_a_runner_is_no_fix() -> None:
    assert trees.is_fix("parse.go", Go())
    assert not trees.is_fix("parse_test.go", Go())
    assert not trees.is_fix("internal/testdata/go.mod", Go())


async def test_the_fix_applies_and_leaves_tests_and_prose_alone(tmp_path: Path) -> None:
    old = _write(tmp_path / "old", a_py="one\n", b_py="gone\n", README_md="old\n", tests__test_a_py="old\n")
    new = _write(tmp_path / "new", a_py="two\n", c__d_py="new\n", README_md="new\n", tests__test_a_py="new\n")
    (scratch := tmp_path / "scratch").mkdir()
    patch = await trees.fix(old, new, Pytest(), scratch)
    (tmp_path / "fix.patch").write_text(patch)
    await trees.git("init", "-q", cwd=old)
    await trees.git("apply", str(tmp_path / "fix.patch"), cwd=old)
    assert trees.names(old) == {"a.py", "c/d.py", "README.md", "tests/test_a.py"}
    assert [(old / name).read_text() for name in ("a.py", "c/d.py", "README.md", "tests/test_a.py")] == [
        "two\n",
        "new\n",
        "old\n",
        "old\n",
    ]


async def test_a_file_that_was_renamed_is_one_removed_and_one_added(tmp_path: Path) -> None:
    text = "".join(f"line {number}\n" for number in range(40))
    old = _write(tmp_path / "old", lib__one_py=text)
    new = _write(tmp_path / "new", lib__two_py=text + "more\n")
    (scratch := tmp_path / "scratch").mkdir()
    (tmp_path / "fix.patch").write_text(await trees.fix(old, new, Pytest(), scratch))
    await trees.git("init", "-q", cwd=old)
    await trees.git("apply", str(tmp_path / "fix.patch"), cwd=old)
    assert trees.names(old) == {"lib/two.py"}
    assert (old / "lib/two.py").read_text() == text + "more\n"


def _release(archive: bytes, kind: str, prefix: str = "adder-1.0") -> Release:
    return Release("pypi", "adder", "1.0", "https://example.org/adder", "0" * 64, kind, prefix, None, archive)  # type: ignore[arg-type]


def _tar(*members: tuple[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as bundle:
        for name, link in members:
            info = tarfile.TarInfo(name)
            if link:
                info.type, info.linkname = tarfile.SYMTYPE, link
            bundle.addfile(info)
    return buffer.getvalue()


def test_unpacks_whatever_the_folder_is_called(tmp_path: Path) -> None:
    assert trees.unpack(_release(_tar(("adder-1.0/a.py", "")), "tar"), tmp_path / "1").name == "adder-1.0"
    assert trees.unpack(_release(_tar(("Adder/a.py", "")), "tar"), tmp_path / "2").name == "Adder"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr("example.org/adder@v1.0/a.go", "package a")
    found = trees.unpack(_release(buffer.getvalue(), "zip", "example.org/adder@v1.0"), tmp_path / "3")
    assert (found / "a.go").is_file()


@pytest.mark.parametrize(
    "archive",
    [b"<html>", _tar(("../outside", "")), _tar(("adder-1.0/link", "/etc/passwd")), _tar(("a/x", ""), ("b/x", ""))],
    ids=["no archive", "leaves its folder", "links outside", "two folders"],
)
def test_refuses_an_archive_that_is_no_source_release(tmp_path: Path, archive: bytes) -> None:
    with pytest.raises(BadRequest, match=r"^https://example\.org/adder: .*; take another version$"):
        trees.unpack(_release(archive, "tar"), tmp_path / "into")
    assert not (tmp_path / "outside").exists()
