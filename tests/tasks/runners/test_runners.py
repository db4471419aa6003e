"""What holds for every runner."""

from __future__ import annotations

import subprocess

import pytest

from envfarm.tasks.runners import RUNNERS, runner
from envfarm.toolbox.errors import TaskError

EXIT_CODES = {
    "pytest": ("pytest.xml", 1),
    "go": ("go.json", 2),
    "cargo": ("cargo.txt", 101),
    "node": ("node.tap", 1),
    "tape": ("tape.tap", 1),
    "mocha": ("mocha.json", 2),
    "jest": ("jest.json", 1),
}


def test_each_is_found_by_its_name():
    assert {name: runner(name).name for name in RUNNERS} == {name: name for name in EXIT_CODES}


@pytest.mark.parametrize("name", [None, "nose"])
def test_an_unknown_name_is_answered_with_those_that_exist(name):
    with pytest.raises(TaskError, match="none of pytest, go, cargo, node, mocha, jest, tape"):
        runner(name)


@pytest.mark.parametrize("name", EXIT_CODES)
def test_a_report_with_failures_agrees_with_the_status_that_came_with_it_and_not_with_success(name, report):
    file, status = EXIT_CODES[name]
    outcomes = runner(name).parse(report(file))
    assert runner(name).agrees(outcomes, status)
    assert not runner(name).agrees(outcomes, 0)


@pytest.mark.parametrize("name", EXIT_CODES)
def test_a_report_without_failures_agrees_with_success_only(name):
    outcomes = {"a::b": "passed", "a::c": "skipped"}
    assert runner(name).agrees(outcomes, 0)
    assert not runner(name).agrees(outcomes, 1)
    assert not runner(name).agrees(outcomes, 137)


@pytest.mark.parametrize("name", EXIT_CODES)
def test_success_without_any_test_is_no_success(name):
    assert not runner(name).agrees({}, 0)


@pytest.mark.parametrize("name", EXIT_CODES)
@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe\x00", b"5 passed in 0.1s", b"{}"], ids=["empty", "binary", "text", "object"]
)
def test_what_is_no_report_is_a_value_error_or_names_no_test(name, data):
    try:
        outcomes = runner(name).parse(data)
    except ValueError:
        return
    assert outcomes == {}


FOLDER = b"# envfarm: folder /testbed\n"
DEEP = b"[" * 100_000
HOSTILE = [
    ("pytest", "<!DOCTYPE x [<!ENTITY a 'b'>]><testsuites>&a;</testsuites>".encode("utf-16")),
    ("pytest", b"<?xml version='1.0' encoding='utf-7'?>+ADw-testsuites/+AD4-"),
    ("pytest", b"<testsuites>\xff</testsuites>"),
    ("pytest", b"<a>" * 100_000),
    ("go", b'{"Action": ' + DEEP),
    ("mocha", FOLDER + b'{"stats": ' + DEEP),
    ("mocha", FOLDER + b'{"stats": {}, "passes": [1]}'),
    ("mocha", FOLDER + b'{"stats": {}, "failures": 1}'),
    ("jest", FOLDER + b'{"a": ' + DEEP),
    ("jest", FOLDER + b'{"testResults": {"a": 1}}'),
    ("jest", FOLDER + b'{"testResults": [{"assertionResults": ["a"]}]}'),
    ("jest", FOLDER + b'{"testResults": [{"assertionResults": [{"ancestorTitles": [[]], "title": "a"}]}]}'),
    ("cargo", b"     Running a" + b"a" * 100_000 + b".rs (b)\n" + b"test b ... ok\n" * 2000),
    ("node", b"# envfarm: file a.js\n# Subtest: " + b"a" * 100_000 + b"\n" + b"    ok 1 - b\n" * 2000),
    (
        "jest",
        FOLDER + b'{"testResults": [{"name": "%s", "assertionResults": [%s{}]}]}' % (b"a" * 100_000, b"{}," * 2000),
    ),
]


@pytest.mark.parametrize(("name", "data"), HOSTILE, ids=[f"{name}-{i}" for i, (name, _) in enumerate(HOSTILE)])
def test_a_report_made_to_harm_is_a_value_error(name, data):
    with pytest.raises(ValueError, match=r"report|names|utf-8"):
        runner(name).parse(data)


@pytest.mark.parametrize("name", EXIT_CODES)
def test_names_of_paths_are_no_commands(name, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/touch").symlink_to("/usr/bin/touch")
    command = runner(name).command(["a dir/$(touch ran).js", "`touch ran`", "'; touch ran; '"], str(tmp_path / "a b"))
    subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, env={"PATH": str(tmp_path / "bin")}, check=False)
    assert not (tmp_path / "ran").exists()
