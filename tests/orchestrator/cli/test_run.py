"""`envfarm run`, `replay` and `shell`, on Docker: a task played by policies that need no model, and by hand."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COMMAND = Path(sys.executable).parent / "envfarm"
_SLEEP = '{"name": "bash", "arguments": {"command": "sleep 600"}}'
TEST = """#!/bin/bash
ok=0; [ "$(cat /srv/answer.txt)" = 42 ] && ok=1
echo "{\\"reward\\": $ok, \\"checked\\": 1}" > /logs/verifier/reward.json
"""
TOML = """[environment]
docker_image = "{image}"
workdir = "/srv"
[solution]
env = {{ WHAT = "42" }}
"""


@pytest.fixture
def folder(cli: Any, docker_base: str) -> Path:
    """The folder of the one task that these tests play."""
    cli.env.update(ENVFARM_BACKEND="docker", ENVFARM_SAMPLES="false", ENVFARM_TASKS="tasks", ENVFARM_WARM="0")
    for name, text in {
        "task.toml": TOML.format(image=docker_base),
        "instruction.md": "Write 42 to /srv/answer.txt.\n",
        "tests/test.sh": TEST,
        "solution/solve.sh": "#!/bin/bash\necho solving\necho $WHAT > answer.txt\n",
        "environment/.keep": "",
    }.items():
        path = cli.folder / "tasks/answer" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Path(cli.folder / "tasks/answer")


@pytest.mark.parametrize(("policy", "reward", "code"), [("oracle", 1.0, 0), ("noop", 0.0, 1)])
def test_a_policy_is_played_and_scored(cli: Any, folder: Path, policy: str, reward: float, code: int) -> None:
    done = json.loads(cli("run", "answer", "--policy", policy, "--json", code=code).stdout)
    assert done["reward"] == reward
    assert done["parts"] == {"checked": 1.0}
    assert (done["task"], done["status"]) == ("answer", "done")
    assert "reward.json" in str(done["artifacts"])
    assert done["seconds"] > 0


def test_a_file_of_calls_is_played_on_a_task_named_by_its_folder(cli: Any, folder: Path) -> None:
    calls = [
        {"name": "bash", "arguments": {"command": "echo 4 > answer.txt"}},
        {"name": "str_replace", "arguments": '{"path": "answer.txt", "old": "4", "new": "42"}'},
        {"name": "finish", "arguments": {}},
        {"name": "bash", "arguments": {"command": "rm answer.txt"}},
    ]
    (cli.folder / "calls.jsonl").write_text("\n".join(json.dumps(call) for call in calls))
    done = cli("run", folder, "--policy", "calls.jsonl", ENVFARM_TASKS="")
    assert "Edited /srv/answer.txt." in done.stderr
    assert "The task has ended." in done.stderr
    assert "rm answer.txt" not in done.stderr


def test_a_running_server_is_used(cli: Any, folder: Path, serve: Callable[..., str]) -> None:
    url = serve()
    assert json.loads(cli("run", "answer", "--policy", "oracle", "--json").stdout)["reward"] == 1.0
    other = cli.folder / "elsewhere"
    done = cli("run", "answer", "--policy", "noop", "--json", "--url", url, "--data", other, code=1, ENVFARM_TASKS="")
    assert json.loads(done.stdout)["reward"] == 0.0
    assert not (other / "envfarm.db").exists()
    refused = cli.error("run", "answer", "--policy", "oracle", "--url", url, code=2, ENVFARM_TASKS="")
    assert "oracle plays the solution in its folder" in refused


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["run", "anwser", "--policy", "noop"], "did you mean 'answer'?"),
        (["run", "answer", "--policy", "missing.jsonl"], "missing.jsonl: cannot be read"),
        (["run", "answer", "--policy", "bad.jsonl"], "bad.jsonl, line 2"),
        (["run", "empty", "--policy", "noop"], "empty: no task; a task is a folder with a task.toml"),
        (["replay", "ep-none"], "no episode 'ep-none'"),
        (["replay", "none.json"], "none.json: cannot be read"),
        (["replay", "bad.json"], "this is no exported episode: id:"),
        (["replay", "bad.jsonl"], "bad.jsonl: cannot be read"),
        (["shell", "anwser"], "did you mean 'answer'?"),
    ],
)
def test_bad_input_is_one_line_that_names_the_fix(cli: Any, folder: Path, args: list[str], said: str) -> None:
    (cli.folder / "bad.jsonl").write_text('{"name": "finish"}\n{"nam": 1}\n')
    (cli.folder / "bad.json").write_text("{}")
    (cli.folder / "empty").mkdir()
    assert said in cli.error(*args, code=2)


def test_a_replay_matches_until_something_differs(cli: Any, folder: Path) -> None:
    episode = json.loads(cli("run", "answer", "--policy", "oracle", "--json").stdout)["episode"]
    assert "1 steps and reward 1.0: all as recorded" in cli("replay", episode).stderr
    exported = json.loads(cli("episodes", "show", episode, "--json").stdout)
    assert exported["steps"][0]["results"][0]["content"] == "solving\n"
    [hex] = {digest.removeprefix("sha256:") for name, digest in exported["artifacts"].items() if "reward.json" in name}
    assert f"envfarm-data/artifacts/{hex[:2]}/{hex}" in cli("episodes", "show", episode).stdout

    away = cli.error("replay", episode, code=2, ENVFARM_TASKS="")
    assert "its task 'answer' is not here; name the folder that it was played from with --tasks FOLDER" in away
    cli("replay", episode, "--tasks", folder, ENVFARM_TASKS="")

    changed = json.loads(json.dumps(exported))
    changed["steps"][0]["results"][0]["content"] = "solved\n"
    (cli.folder / "observation.json").write_text(json.dumps(changed))
    done = json.loads(cli("replay", "observation.json", "--json", code=1).stdout)
    assert done["difference"] == {
        "where": "step 0, call 1 (bash): content",
        "recorded": "solved\n",
        "replayed": "solving\n",
    }
    assert "-solved\n+solving" in cli("replay", "observation.json", code=1).stderr

    exported["reward"]["value"] = 0.5
    (cli.folder / "reward.json").write_text(json.dumps(exported))
    assert "reward: value: recorded 0.5, replayed 1.0" in cli("replay", "reward.json", code=1).stderr


def test_a_replay_keeps_to_a_steps_own_time(cli: Any, folder: Path) -> None:
    (cli.folder / "calls").write_text('{"name": "bash", "arguments": {"command": "echo begun; sleep 2; echo done"}}')
    episode = json.loads(cli("run", "answer", "--policy", "calls", "--json", code=1).stdout)["episode"]
    exported = json.loads(cli("episodes", "show", episode, "--json").stdout)
    assert exported["steps"][0]["timeout_s"] is None
    exported["steps"][0]["timeout_s"] = 0.5
    exported["steps"][0]["results"][0].update(
        content="begun\n[timed out after 0.5 s: the command and all that it started were killed]",
        exit_code=None,
        timed_out=True,
    )
    (cli.folder / "timed.json").write_text(json.dumps(exported))
    cli("replay", "timed.json")


def test_ctrl_c_ends_what_was_started_and_says_so(cli: Any, folder: Path) -> None:
    (cli.folder / "calls").write_text('{"name": "bash", "arguments": {"command": "echo 1"}}\n' + _SLEEP)
    running = cli.start("run", "answer", "--policy", "calls")
    while (line := running.stderr.readline()) and line != "1\n":  # what the first call printed
        pass
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (130, "stopping: ending what was started\n")


def test_ctrl_c_while_a_command_is_loaded_is_quiet(cli: Any) -> None:
    script = (
        "import signal, sys\n"
        "class CtrlC:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer': signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, CtrlC())\n"
        "from envfarm.orchestrator.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_script_on_standard_input_works_in_the_tasks_sandbox(cli: Any, folder: Path) -> None:
    script = "pwd; echo oh >&2; cat > answer.txt <<'E'\n42\nE\n"
    done = subprocess.run(
        [COMMAND, "shell", "answer", "--json"],
        cwd=cli.folder,
        env=cli.environment({}),
        input=script,
        capture_output=True,
        text=True,
        check=True,
    )
    out, _, shown = done.stdout.partition("{")
    assert out == "/srv\n"
    assert json.loads("{" + shown)["reward"] == 1.0
    assert "Write 42 to /srv/answer.txt." in done.stderr
    assert "oh\n" in done.stderr


def test_a_shell_is_where_the_agent_is_and_its_exit_code_tells_the_reward(cli: Any, folder: Path) -> None:
    (folder / "task.toml").write_text("")
    (folder / "environment/Dockerfile").write_text(
        "FROM debian:12\nRUN useradd -m -u 1234 worker\nWORKDIR /home/worker/in\nUSER worker\n"
    )
    look = "whoami; pwd; echo $HOME; env | grep -c ^ENVFARM="
    (cli.folder / "calls").write_text(json.dumps({"name": "bash", "arguments": {"command": look}}))
    episode = json.loads(cli("run", "answer", "--policy", "calls", "--json", code=1).stdout)["episode"]
    [step] = json.loads(cli("episodes", "show", episode, "--json").stdout)["steps"]
    done = subprocess.run(
        [COMMAND, "shell", "answer", "--json"],
        cwd=cli.folder,
        env=cli.environment({}),
        input=look,
        capture_output=True,
        text=True,
    )
    out, _, shown = done.stdout.partition("{")
    assert step["results"][0]["content"].startswith(out)
    assert out == "worker\n/home/worker/in\n/home/worker\n0\n"
    assert json.loads("{" + shown)["reward"] == 0.0
    assert done.returncode == 1


def test_a_terminal_is_one_inside_too(cli: Any, folder: Path) -> None:
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        [COMMAND, "shell", folder], cwd=cli.folder, env=cli.environment({}), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    seen = b""
    typed = False
    while True:
        try:
            seen += os.read(ours, 4096)
        except OSError:  # how a terminal says that nobody holds its other end
            break
        if not typed and seen.endswith(b"# "):
            typed = True
            os.write(ours, b"tty && stty size >/dev/null && echo 4''2 is it; echo 42 > answer.txt; exit\n")
    os.close(ours)
    assert shell.wait() == 0
    assert b"/dev/pts/" in seen
    assert b"42 is it" in seen
    assert b"answer  1" in seen.replace(b"\r", b"")
