"""`envfarm serve`: it serves, stops when told to, and says in one line why it cannot start."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import urllib.request
from collections.abc import Callable
from typing import Any


def test_it_serves_until_it_is_stopped(cli: Any, serve: Callable[..., str]) -> None:
    url = serve()
    with urllib.request.urlopen(f"{url}/health") as answer:
        assert json.load(answer)["status"] == "ok"
    assert (cli.folder / "envfarm-data/envfarm.db").exists()


def test_it_says_how_many_tasks_it_serves_and_which_it_cannot(cli: Any) -> None:
    for name in ("mix/fine", "mix/bad", "mix/worse"):
        for place, text in {"instruction.md": "x", "environment/Dockerfile": "FROM x", "tests/test.sh": ""}.items():
            (cli.folder / name / place).parent.mkdir(parents=True, exist_ok=True)
            (cli.folder / name / place).write_text(text)
        (cli.folder / name / "task.toml").write_text("" if name == "mix/fine" else "x =")
    server = cli.start("serve", "--port", "0", "--samples", "false", "--tasks", "mix")
    said = [server.stderr.readline(), server.stderr.readline()]
    server.send_signal(signal.SIGINT)
    server.communicate(timeout=30)
    assert "serves 1 tasks" in said[0]
    assert said[1] == "2 cannot be used: bad, worse; `envfarm tasks list` says why\n"


def test_a_busy_port(cli: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        error = cli.error("serve", "--port", port, code=3)
    assert error.startswith(f"cannot listen on 127.0.0.1:{port}: Address already in use; ")
    assert "--port" in error
    assert not (cli.folder / "envfarm-data/envfarm.db").exists()


def test_a_host_that_is_not_there(cli: Any) -> None:
    error = cli.error("serve", "--host", "no.such.host.invalid", code=2, ENVFARM_TOKENS="t")
    assert error.startswith("host: no.such.host.invalid: ")


def test_a_port_open_to_the_network_needs_a_token(cli: Any) -> None:
    assert "set ENVFARM_TOKENS" in cli.error("serve", "--host", "0.0.0.0", "--port", "0", code=2)


def test_a_data_folder_in_use(cli: Any, serve: Callable[..., str]) -> None:
    serve()
    assert "another envfarm server uses this data folder" in cli.error("serve", "--port", "0", code=3)


def test_a_data_folder_that_cannot_be_made(cli: Any) -> None:
    (cli.folder / "file").write_text("")
    error = cli.error("serve", "--port", "0", "--data", "file/data", code=2)
    assert error == "data: file/data: Not a directory; choose another folder with --data"


def test_no_docker(cli: Any) -> None:
    env = {"DOCKER_HOST": f"unix://{cli.folder}/none.sock", "ENVFARM_BACKEND": "docker"}
    error = cli.error("serve", "--port", "0", code=3, **env)
    assert "none.sock" in error
    assert "docker" in error.lower()


def test_a_locked_database(cli: Any, serve: Callable[..., str]) -> None:
    (cli.folder / "envfarm-data").mkdir()
    holder = sqlite3.connect(cli.folder / "envfarm-data/envfarm.db")
    holder.execute("CREATE TABLE held (x)")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        assert "locked" in cli.error("serve", "--port", "0", code=3)
    finally:
        holder.close()


def test_a_database_newer_than_the_code(cli: Any, serve: Callable[..., str]) -> None:
    database = cli.folder / "envfarm-data/envfarm.db"
    cli("episodes", "list")
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert "newer" in cli.error("serve", "--port", "0", code=3)
    assert "newer" in cli.error("episodes", "list", code=3)


def test_a_task_folder_that_is_missing(cli: Any) -> None:
    assert cli.error("serve", "--port", "0", "--tasks", "gone", code=2).startswith("gone: no such folder")
