"""What each language installs for a project's tests. That it works is shown by the tasks that are made with it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from envfarm.tasks.factory.languages import LANGUAGES, detect
from envfarm.tasks.factory.languages.base import Project


def _project(root: Path, files: dict[str, str], *, tests: tuple[str, ...] = (), extra: tuple[str, ...] = ()) -> Project:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return Project("adder", "1.0", root, root, tests, None, extra)


PYPROJECT = """
[build-system]
requires = ["hatchling>=1.20"]
build-backend = "hatchling.build"
[project.optional-dependencies]
tests = ["hypothesis", "adder[extra]"]
dev = ["freezegun", "sphinx", "pytest-mock", "pytest-cov", "beautifulsoup4>=4"]
"""


def _requirements(project: Project) -> list[str]:
    python = LANGUAGES["python"]
    data = python.environment(project, python.runner(project), {}).files["requirements.txt"]
    return data.decode().splitlines()


def test_python_installs_what_the_tests_import(tmp_path: Path) -> None:
    files = {
        "pyproject.toml": PYPROJECT,
        "requirements-test.txt": "# tools\ntoml==0.10\n",
        "tests/test_a.py": "import json\nimport freezegun\nfrom bs4 import BeautifulSoup\nfrom . import helper\n",
    }
    project = _project(tmp_path, files, tests=("tests/test_a.py",), extra=("colorama",))
    assert sorted(_requirements(project)) == [
        "beautifulsoup4>=4",
        "colorama",
        "editables",
        "freezegun",
        "hatchling>=1.20",
        "hypothesis",
        "pytest",
        "pytest-mock",
        "toml==0.10",
        "wheel",
    ]


def test_python_reads_setup_cfg_and_tox(tmp_path: Path) -> None:
    extras = "[options.extras_require]\ntests =\n    freezegun\ndocs = sphinx\n"
    files = {
        "setup.cfg": f"[options]\ntests_require =\n    mock\n{extras}",
        "tox.ini": "[testenv]\ndeps =\n    toml\n    pytest-timeout\n    py27: mock\n    -r x.txt\n    black\n",
        "tests/test_a.py": "import toml\n",
    }
    found = _requirements(_project(tmp_path, files, tests=("tests/test_a.py",)))
    assert {"mock", "freezegun", "toml", "pytest-timeout"} <= set(found)
    assert not {"sphinx", "black"} & set(found)


@pytest.mark.parametrize(
    ("published", "expected"),
    [(None, "pytest"), (date(2026, 1, 1), "pytest"), (date(2024, 6, 1), "pytest<9"), (date(2019, 1, 1), "pytest<8")],
)
def test_python_takes_the_runner_of_the_releases_own_date(
    tmp_path: Path, published: date | None, expected: str
) -> None:
    assert expected in _requirements(replace(_project(tmp_path, {"setup.py": ""}), published=published))


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("nyc tape 'test/**/*.js'", "tape"),
        ("mocha --exit", "mocha"),
        ("jest", "jest"),
        ("node --test", "node"),
        ("", "node"),
    ],
)
def test_node_takes_the_runner_that_the_scripts_name(tmp_path: Path, script: str, expected: str) -> None:
    package = json.dumps({"scripts": {"test": "npm run tests-only", "tests-only": script, "lint": "eslint"}})
    assert LANGUAGES["node"].runner(_project(tmp_path, {"package.json": package})).name == expected


def test_node_installs_the_runner_and_what_the_tests_require(tmp_path: Path) -> None:
    package = {
        "scripts": {"test": "tape test/*.js"},
        "dependencies": {"side-channel": "^1"},
        "devDependencies": {"tape": "^5", "eslint": "^8", "iconv-lite": "^0.5", "@scope/fixtures": "1", "esm": "3"},
    }
    test = (
        "require('tape')('x');\nvar f = require('@scope/fixtures/deep');\nimport i from 'iconv-lite';\nrequire('../')\n"
    )
    files = {"package.json": json.dumps(package), "test/a.js": test}
    project = _project(tmp_path, files, tests=("test/a.js",), extra=("@types/node@18",))
    node = LANGUAGES["node"]
    data = node.environment(project, node.runner(project), {}).files["package.json"]
    assert json.loads(data)["dependencies"] == {
        "@scope/fixtures": "1",
        "@types/node": "18",
        "iconv-lite": "^0.5",
        "side-channel": "^1",
        "tape": "^5",
    }


@pytest.mark.parametrize(
    ("go_mod", "base"),
    [
        ("module adder\n\ngo 1.13\n", "golang:1.19-bookworm"),
        ("module adder\n\ngo 1.22.0\n", "golang:1.22-bookworm"),
        ("module adder\n", "golang:1.19-bookworm"),
    ],
)
def test_go_takes_a_toolchain_that_the_module_accepts(tmp_path: Path, go_mod: str, base: str) -> None:
    project = _project(tmp_path, {"go.mod": go_mod})
    go = LANGUAGES["go"]
    environment = go.environment(project, go.runner(project), {})
    assert environment.base == base
    assert "go mod init" not in environment.steps


def test_go_gives_an_old_module_its_name(tmp_path: Path) -> None:
    project = _project(tmp_path, {"adder.go": "package adder\n"})
    go = LANGUAGES["go"]
    assert "go mod init adder" in go.environment(project, go.runner(project), {}).steps


@pytest.mark.parametrize("name", ["python", "node", "rust"])
def test_a_pinned_image_resolves_nothing(tmp_path: Path, name: str) -> None:
    language = LANGUAGES[name]
    project = _project(tmp_path, {"package.json": "{}", "setup.py": "", "Cargo.toml": ""})
    pin = {"python": "requirements.txt", "node": "package-lock.json", "rust": "Cargo.lock"}[name]
    environment = language.environment(project, language.runner(project), {pin: b"pinned\n"})
    assert environment.files[pin] == b"pinned\n"
    assert not any(word in environment.steps for word in ("npm install", "generate-lockfile"))
    assert name != "python" or "--no-deps -e /testbed" in environment.steps


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"setup.py", "a.py"}, "python"),
        ({"go.mod"}, "go"),
        ({"adder.go"}, "go"),
        ({"package.json"}, "node"),
        ({"Cargo.toml"}, "rust"),
        ({"Makefile"}, None),
    ],
)
def test_tells_the_language_by_the_package_file(files: set[str], expected: str | None) -> None:
    found = detect(files)
    assert (found.name if found else None) == expected
