"""Which of an agent's changes reach the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from envfarm.envs.changes import Changes, Entry
from envfarm.envs.protect import allowed, protection
from envfarm.tasks.runners import runner
from envfarm.tasks.spec import FarmTable, Task, TaskConfig


def file(text: str = "x", executable: bool = False) -> Entry:
    return Entry("file", text.encode(), executable)


def guard(name: str = "pytest", tests: tuple[str, ...] = (), **table):
    config = TaskConfig(envfarm=FarmTable(kind="swe", runner=name, **table))
    task = Task(id="t", path=Path("/t"), instruction="", config=config, digest="d")
    return protection(task, runner(name), tests)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("pytest", "conftest.py"),
        ("pytest", "pkg/CONFTEST.py"),
        ("pytest", "pytest.ini"),
        ("pytest", "tox.ini"),
        ("pytest", "src/sitecustomize.py"),
        ("pytest", "usercustomize/__init__.py"),
        ("pytest", "a.pth"),
        ("pytest", "evil-1.dist-info/entry_points.txt"),
        ("pytest", "_pytest/runner.py"),
        ("pytest", "pytest.py"),
        ("pytest", "tests/data/a.json"),
        ("pytest", "Makefile"),
        ("go", "pkg/a_test.go"),
        ("go", "go.mod"),
        ("go", "vendor/x/y.go"),
        ("go", "go.work"),
        ("cargo", "build.rs"),
        ("cargo", "sub/.cargo/config.toml"),
        ("cargo", "tests/a.rs"),
        ("cargo", "rust-toolchain.toml"),
        ("node", ".mocharc.json"),
        ("node", "jest.config.js"),
        ("node", "node_modules/x/index.js"),
        ("node", "src/__tests__/a.js"),
    ],
)
def test_tests_their_configuration_and_start_up_hooks_are_the_tasks(name, path):
    changes = allowed(Changes(written={path: file()}), {}, guard(name))
    assert changes.written == {}
    assert list(changes.left_out) == [path]
    assert allowed(Changes(deleted=[path]), {path: file("old")}, guard(name)).deleted == []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("pytest", "src/pkg/a.py"),
        ("pytest", "lib/pytest_helper.py"),
        ("pytest", "src/_pytest_compat.py"),
        ("go", "a.go"),
        ("cargo", "src/lib.rs"),
        ("node", "lib/a.js"),
        ("node", "README.md"),
    ],
)
def test_the_code_is_the_agents(name, path):
    assert list(allowed(Changes(written={path: file()}), {}, guard(name)).written) == [path]
    assert allowed(Changes(deleted=[path]), {path: file("old")}, guard(name)).deleted == [path]


def test_a_task_may_protect_more_and_its_test_paths_are_protected():
    one = guard(tests=("checks/deep/a.txt",), protect=("*.lock", "data/*.csv"), test_paths=("suite/", "one.py"))
    paths = ["uv.lock", "data/a.csv", "suite/x", "one.py", "checks/deep/a.txt"]
    assert [one.covers(path) for path in paths] == [True] * 5
    assert not one.covers("suite2/x")
    assert not one.covers("data.csv")


@pytest.mark.parametrize("target", ["/verifier/tests", "../../etc/passwd", "a/../../../x"])
def test_a_link_that_leads_out_is_left_out(target):
    changes = allowed(Changes(written={"src/link": Entry("link", target.encode())}), {}, guard())
    assert changes.written == {}
    assert "leads out" in changes.left_out["src/link"]


def test_a_link_inside_the_repository_stays():
    link = Entry("link", b"../other/file.py")
    assert allowed(Changes(written={"src/link.py": link}), {}, guard()).written == {"src/link.py": link}


def test_nothing_may_stand_where_the_tests_need_a_folder():
    pristine = {"tests/test_a.py": file(), "pkg/a.py": file()}
    written = {"tests": Entry("link", b"fake"), "pkg": Entry("link", b"fake"), "pkg/a.py/x.py": file()}
    changes = allowed(
        Changes(written=written, deleted=["tests/test_a.py"]), pristine, guard(tests=("tests/test_a.py",))
    )
    assert changes.written == {}
    assert sorted(changes.left_out) == ["pkg", "pkg/a.py/x.py", "tests", "tests/test_a.py"]


def test_a_folder_may_become_a_file_when_nothing_in_it_stays():
    pristine = {"pkg/mod/__init__.py": file()}
    changes = allowed(Changes(written={"pkg/mod": file("y")}, deleted=["pkg/mod/__init__.py"]), pristine, guard())
    assert list(changes.written) == ["pkg/mod"]


def test_mixed_configuration_is_merged_and_never_a_link():
    pristine = {"setup.cfg": file("[metadata]\nname = a\n[tool:pytest]\naddopts = -ra\n")}
    mine = file("[metadata]\nname = b\n[tool:pytest]\naddopts = -p evil\n")
    changes = allowed(Changes(written={"setup.cfg": mine}), pristine, guard())
    assert changes.written == {"setup.cfg": file("[metadata]\nname = b\n[tool:pytest]\naddopts = -ra\n")}
    link = Changes(written={"setup.cfg": Entry("link", b"evil.cfg")})
    assert allowed(link, pristine, guard()).written == {}
    assert allowed(Changes(deleted=["setup.cfg"]), pristine, guard()).deleted == []
