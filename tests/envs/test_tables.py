"""Files that are part configuration of the tests and part the agent's."""

from __future__ import annotations

import json
import tomllib

import pytest

from envfarm.envs.tables import merged

PYPROJECT = b"""[project]
name = "a"
version = "1"

[tool.pytest.ini_options]
addopts = "-ra"
"""
CARGO = b"""[package]
name = "a"
version = "0.1.0"

[dependencies]
memchr = "2"
"""


def test_the_agents_tables_stay_and_the_tests_are_the_tasks():
    mine = PYPROJECT.replace(b'"1"', b'"2"').replace(b"-ra", b"-p evil")
    assert merged("pyproject.toml", mine, PYPROJECT) == PYPROJECT.replace(b'"1"', b'"2"')


def test_a_file_without_a_change_to_the_tests_stays_as_it_is_to_the_byte():
    mine = b"# mine\n" + PYPROJECT.replace(b'"1"', b'"2"')
    assert merged("pyproject.toml", mine, PYPROJECT) == mine


@pytest.mark.parametrize(
    "mine",
    [
        b'[tool]\npytest.ini_options = {addopts = "-p evil"}\n',
        b'tool.pytest.ini_options.addopts = "-p evil"\n',
        b'[tool."pytest".ini_options]\naddopts = "-p evil"\n',
        b'["tool"."py\\u0074est".ini_options]\naddopts = "-p evil"\n',
        b'[ tool . pytest . ini_options ]\naddopts = "-p evil"\n',
        b"not toml at all [\n",
        b"\xff\xfe",
        b'tool.pytest.ini_options.addopts = "-p evil"\nx = ' + b"[" * 5000 + b"]" * 5000,
        b'tool.pytest.ini_options.addopts = "-p evil"\n' + b"#" * (1 << 20),
    ],
)
def test_a_table_that_is_hidden_does_not_reach_the_tests(mine):
    result = merged("pyproject.toml", mine, PYPROJECT)
    assert b"evil" not in result
    assert b'addopts = "-ra"' in result


def test_a_new_file_of_test_tables_only_does_not_appear():
    assert merged("pyproject.toml", b'[tool.pytest.ini_options]\naddopts = "-p evil"\n', None) is None
    assert merged("setup.cfg", b"[tool:pytest]\naddopts = -p evil\n", None) is None


@pytest.mark.parametrize(
    "extra",
    [
        b'\n[[test]]\nname = "a"\npath = "evil.rs"\nharness = false\n',
        b'\n[profile.test]\npanic = "abort"\n',
        b'\n[dev-dependencies]\nevil = { path = "evil" }\n',
        b'\n[patch.crates-io]\nmemchr = { path = "evil" }\n',
        b"\n[lib]\ntest = false\n",
    ],
)
def test_cargo_targets_and_patches_are_the_tasks(extra):
    result = merged("Cargo.toml", CARGO + extra, CARGO)
    assert tomllib.loads(result.decode()) == tomllib.loads(CARGO.decode())


def test_a_build_script_by_another_name_gives_the_tasks_file():
    assert merged("Cargo.toml", CARGO.replace(b"[dep", b'build = "evil.rs"\n[dep'), CARGO) == CARGO


def test_a_dependency_of_the_code_may_change():
    mine = CARGO.replace(b'memchr = "2"', b'memchr = "2.5"')
    assert merged("Cargo.toml", mine, CARGO) == mine


def test_scripts_of_package_json_are_the_tasks():
    theirs = {"name": "a", "scripts": {"test": "mocha"}}
    mine = {"name": "a", "main": "b.js", "scripts": {"test": "true"}, "jest": {"setupFiles": ["evil.js"]}}
    result = json.loads(merged("package.json", json.dumps(mine).encode(), json.dumps(theirs).encode()))
    assert result == {"name": "a", "main": "b.js", "scripts": {"test": "mocha"}}


@pytest.mark.parametrize(
    "mine",
    [
        b"[]",
        b"{",
        b"\xff",
        b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"jest": {}, "a": "\\ud800"}',
    ],
    ids=range(5),
)
def test_what_is_no_package_json_gives_the_tasks(mine):
    assert merged("package.json", mine, b'{"name": "a"}') == b'{"name": "a"}'
