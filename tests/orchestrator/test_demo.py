"""`make demo`, on tasks of the test's own: its table, its replay, and an exit code that tells when something is off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import envfarm

FILES = {
    "task.toml": "",
    "instruction.md": "Write hello into /app/hello.txt.",
    "environment/Dockerfile": "FROM debian:12\nWORKDIR /app\n",
    "solution/solve.sh": "echo hello > /app/hello.txt\n",
}
FAIR = "grep -qx hello /app/hello.txt && echo 1 > /logs/verifier/reward.txt || echo 0 > /logs/verifier/reward.txt\n"
LENIENT = "echo 1 > /logs/verifier/reward.txt\n"


def write(folder: Path, test: str) -> None:
    for name, text in {**FILES, "tests/test.sh": test}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def start(folder: Path) -> subprocess.Popen[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ENVFARM_")}
    return subprocess.Popen(
        [sys.executable, "-m", "envfarm.orchestrator.demo"],
        cwd=folder,
        env=clean | {"ENVFARM_TASKS": "tasks", "ENVFARM_SAMPLES": "false"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    process = start(folder)
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def containers(folder: Path) -> list[str]:
    """The sandboxes of the server that worked in a folder."""
    owner = (folder / "envfarm-data" / "server-id").read_text().strip()
    command = ["docker", "ps", "-aq", "--filter", f"label=envfarm.owner={owner}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_sound_tasks_and_a_replay_that_matches(tmp_path: Path, docker_base: str) -> None:
    write(tmp_path / "tasks/hello", FAIR)
    done = demo(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    [row] = [line.split() for line in done.stdout.splitlines() if line.startswith("hello")]
    assert (row[4], row[5], row[8]) == ("1", "0", "yes")
    assert "1 of 1 tasks are sound" in done.stderr
    assert done.stderr.startswith(f"envfarm {envfarm.__version__} on Docker ")
    for stage in (
        "building",
        "playing its solution",
        "scoring its solution",
        "its solution earned 1; now playing do-nothing",
    ):
        assert f"hello: {stage}" in done.stderr
    assert "1 steps, matches" in done.stderr
    assert str(tmp_path / "envfarm-data") in done.stderr


def test_one_unsound_and_one_broken_task_are_named_and_the_rest_is_played(tmp_path: Path, docker_base: str) -> None:
    write(tmp_path / "tasks/fair", FAIR)
    write(tmp_path / "tasks/lenient", LENIENT)
    write(tmp_path / "tasks/unbuildable", FAIR)
    (tmp_path / "tasks/unbuildable/environment/Dockerfile").write_text("FROM debian:12\nRUN exit 3\n")
    done = demo(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert rows["fair"].rstrip().endswith("yes")
    assert "NO" in rows["lenient"]
    assert "NO" in rows["unbuildable"]
    assert "lenient failed: its solution earned 1 and doing nothing 1; see `envfarm episodes show ep-" in done.stderr
    [log] = (tmp_path / "envfarm-data/builds").glob("unbuildable-*.log")
    [told] = [line for line in done.stderr.splitlines() if line.startswith("unbuildable failed: ")]
    assert log.name in told
    assert "1 of 3 tasks are sound" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_what_it_started(tmp_path: Path, docker_base: str, number: signal.Signals) -> None:
    write(tmp_path / "tasks/slow", FAIR)
    (tmp_path / "tasks/slow/solution/solve.sh").write_text("touch /app/begun; sleep 600\n")
    process = start(tmp_path)
    assert process.stderr is not None
    while (line := process.stderr.readline()) and "playing its solution" not in line:
        pass
    while process.poll() is None and not ((tmp_path / "envfarm-data" / "server-id").exists() and containers(tmp_path)):
        time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, out + err
    assert "Traceback" not in err
    assert containers(tmp_path) == []
