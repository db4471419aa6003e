"""Reading task folders: what Harbor allows, our own table, and an error with its fix for every defect."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from envfarm.tasks.folder import load
from envfarm.toolbox.errors import TaskError

MakeFolder = Callable[..., Path]

SWE = '[envfarm]\nkind = "swe"\nrunner = "pytest"\n'


def test_an_empty_task_toml_is_enough(make_folder: MakeFolder) -> None:
    task = load(make_folder("hello"))
    assert (task.id, task.kind, task.instruction) == ("hello", "terminal", "Do it.\n")
    assert (task.config.verifier.timeout_sec, task.config.environment.memory_mb) == (600, 2048)
    assert load(task.path, id="set/hello").id == "set/hello"


def test_keys_that_harbor_ignores_are_ignored_and_old_ones_are_read(make_folder: MakeFolder) -> None:
    toml = """
version = "1.0"
made_up = 1
[metadata]
anything = { at = ["all"] }
[environment]
memory = "4G"
storage = "512M"
allow_internet = false
future_key = "x"
[verifier]
environment_mode = "separate"
[[environment.mcp_servers]]
name = "x"
"""
    config = load(make_folder(**{"task.toml": toml})).config
    assert (config.environment.memory_mb, config.environment.storage_mb) == (4096, 512)
    assert config.environment.allow_internet is False
    assert config.verifier.separate


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[enviroment]\ncpus = 2", "[enviroment]: not read; did you mean [environment]?"),
        ("[environment]\ncpu = 2", "[environment] cpu: not read; did you mean cpus?"),
        ("[agent]\ntimeout = 2", "[agent] timeout: not read; did you mean timeout_sec?"),
        ("artefacts = []", "artefacts: not read; did you mean artifacts?"),
        (
            "[verifier.environment]\ndockerimage = 'x'",
            "[verifier.environment] dockerimage: not read; did you mean docker_image?",
        ),
    ],
)
def test_a_key_that_looks_misspelt_is_a_warning(make_folder: MakeFolder, toml: str, said: str) -> None:
    folder = make_folder(**{"task.toml": toml})
    assert load(folder).warnings == (f"{folder}/task.toml: {said}",)


def test_a_foreign_key_is_none(make_folder: MakeFolder) -> None:
    toml = """
version = "1.0"
multi_step_reward_strategy = "mean"
[metadata]
tasks = 1
[environment]
memory = "4G"
skills_dir = "x"
tpu = 1
[environment.env]
CPU = "1"
[oracle]
x = 1
"""
    assert load(make_folder(**{"task.toml": toml})).warnings == ()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"task.toml": None}, "task.toml: missing"),
        ({"task.toml": None, "task.yaml": "instruction: x"}, "Terminal-Bench 1 task; convert it"),
        ({"instruction.md": None}, "instruction.md: missing; add it"),
        ({"instruction.md": " \n"}, "instruction.md: empty; write what the agent is to do"),
        ({"environment/docker-compose.yaml": "services: {}"}, "docker-compose.yaml: tasks of several containers"),
        ({"steps/one/instruction.md": "x"}, "steps: tasks of several steps"),
        ({"task.toml": "[environment]\nos = 'windows'"}, r"\[environment\] os: only linux"),
        ({"task.toml": "[envfram]\nkind = 'swe'"}, r"\[envfram\]: no such table; did you mean \[envfarm\]\?"),
        (
            {"task.toml": "[environment]\nworkdir = 'app'"},
            r"\[environment\] workdir: write an absolute path, not 'app'",
        ),
        ({"task.toml": "a = 1\nb = = 2"}, r"task.toml: not valid TOML: .*line 2"),
        ({"task.toml": "[environment]\ncpus = 'lots'"}, r"task.toml: \[environment\] cpus: .*number.*, not 'lots'"),
        ({"task.toml": "[environment]\nmemory_mb = 'much'"}, r"\[environment\] memory_mb: .*not 'much'"),
        ({"task.toml": "artifacts = 3"}, r"task.toml: artifacts: .*, not 3"),
        ({"task.toml": "environment = 3"}, "task.toml: environment: "),
        ({"task.toml": "[envfarm]\nservice_survive = true"}, "no such field; did you mean services_survive?"),
        ({"task.toml": "[envfarm]\nzzzzzzzz = true"}, r"\[envfarm\] zzzzzzzz: no such field; known: kind, "),
        ({"task.toml": "[envfarm]\nkind = 3\nlanguage = 4"}, r"\[envfarm\] kind: .*\(and 1 more\)"),
        ({"task.toml": SWE, "tests/ids.json": "{"}, "tests/ids.json: not valid JSON"),
        ({"task.toml": SWE, "tests/ids.json": '["a"]'}, "tests/ids.json: expected an object of two lists"),
        ({"task.toml": SWE, "tests/ids.json": '{"fail_to_pas": []}'}, "tests/ids.json: expected an object of two"),
        ({"task.toml": SWE, "tests/ids.json": '{"fail_to_pass": [1]}'}, "fail_to_pass is not one"),
        ({"task.toml": "[verifier.env]\nKEY = '${ENVFARM_NO_SUCH}'"}, r"\[verifier.env\] KEY: .* the farm's own"),
        ({"task.toml": "[environment.env]\nKEY = 'a ${NO_SUCH_V}'"}, r"\[environment.env\] KEY: NO_SUCH_V is not set"),
        (
            {"task.toml": "[environment]\nallowed_hosts = ['a']"},
            r"\[environment\] allowed_hosts: .*allowlist.* beside",
        ),
        (
            {"task.toml": "[verifier.environment]\nnetwork_mode = 'allowlist'\nallowed_hosts = ['10.0.0.1']"},
            r"\[verifier.environment\] allowed_hosts: '10.0.0.1' is no host's name",
        ),
    ],
)
def test_every_defect_names_the_file_and_the_fix(
    make_folder: MakeFolder, files: dict[str, str | None], message: str
) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        load(make_folder(**files))
    assert "\n" not in str(caught.value)


def test_a_missing_folder_and_a_broken_encoding_are_named(make_folder: MakeFolder, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="nowhere: no such folder"):
        load(tmp_path / "nowhere")
    folder = make_folder()
    (folder / "instruction.md").write_bytes(b"caf\xe9")
    with pytest.raises(TaskError, match=r"instruction\.md: not UTF-8 at byte 3"):
        load(folder)


def test_a_built_image_needs_no_dockerfile(make_folder: MakeFolder) -> None:
    toml = "[environment]\ndocker_image = 'debian:12'\n[verifier.environment]\ndocker_image = 'checker:1'"
    task = load(make_folder(**{"task.toml": toml, "environment/Dockerfile": None, "tests/test.sh": None}))
    assert task.config.environment.docker_image == "debian:12"


def test_variables_are_expanded_in_env_tables_only(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_KEY", "s3cret")
    toml = """
[environment]
workdir = "/${MODEL_KEY}"
[environment.env]
BOTH = "${MODEL_KEY}/${NO_SUCH:-none}"
EMPTY = "${NO_SUCH:-}"
PLAIN = "$MODEL_KEY"
[verifier.environment.env]
A = "${MODEL_KEY}"
[solution.env]
B = "${MODEL_KEY}"
"""
    config = load(make_folder(**{"task.toml": toml})).config
    assert config.environment.env == {"BOTH": "s3cret/none", "EMPTY": "", "PLAIN": "$MODEL_KEY"}
    assert config.environment.workdir == "/${MODEL_KEY}"
    assert config.verifier.environment is not None
    assert (config.verifier.environment.env, config.solution.env) == ({"A": "s3cret"}, {"B": "s3cret"})


def test_ids_come_from_a_file_too(make_folder: MakeFolder) -> None:
    toml = SWE + 'fail_to_pass = ["a"]\n'
    ids = '{"fail_to_pass": ["a", "b"], "pass_to_pass": ["c"]}'
    table = load(make_folder(**{"task.toml": toml, "tests/ids.json": ids})).config.envfarm
    assert (table.fail_to_pass, table.pass_to_pass) == (("a", "b"), ("c",))


def test_ids_of_other_peoples_tasks_are_their_own(make_folder: MakeFolder) -> None:
    assert load(make_folder(**{"tests/ids.json": "[1, 2]"})).kind == "terminal"


def test_the_digest_is_of_every_file(make_folder: MakeFolder) -> None:
    folder = make_folder(**{"solution/solve.sh": "true\n"})
    seen = [load(folder).digest]
    assert seen[0].startswith("sha256:")

    def changed() -> bool:
        seen.append(load(folder).digest)
        return seen[-1] not in seen[:-1]

    (folder / "solution/solve.sh").write_text("false\n")
    assert changed()
    (folder / "solution/solve.sh").chmod(0o755)
    assert changed()
    (folder / "tests/data").symlink_to("test.sh")
    assert changed()
    (folder / "tests/data").rename(folder / "tests/other")
    assert changed()
    (folder / "tests/__pycache__").mkdir()
    (folder / "tests/__pycache__/x.pyc").write_text("x")
    assert not changed()
    os.mkfifo(folder / "tests/pipe")
    with pytest.raises(TaskError, match="pipe: neither a file"):
        load(folder)
