"""`envfarm doctor`: what is there, what is missing, and the fix."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

import docker

from ...toolbox.chat_server import Says, chat_server


def checks(cli: Any, *args: str, code: int = 0, **env: str) -> dict[str, dict[str, str]]:
    return {found["check"]: found for found in json.loads(cli("doctor", "--json", *args, code=code, **env).stdout)}


def test_a_machine_with_docker_is_fine(cli: Any, docker_base: str) -> None:
    found = checks(cli, ENVFARM_BACKEND="docker")
    assert found["docker engine"]["state"] == "ok"
    assert {"gvisor", "base images", "data folder", "database", "port", "tasks", "access"} <= set(found)
    assert "docker engine" in cli("doctor", ENVFARM_BACKEND="docker").stdout


def test_whether_forks_are_possible_is_said_with_the_fix(cli: Any, engine: docker.DockerClient, gvisor: bool) -> None:
    found = checks(cli, ENVFARM_BACKEND="docker")["forks"]
    assert found["state"] in ("ok", "note")
    if not gvisor:
        assert "make gvisor" in found["fix"]
    elif not engine.info()["ExperimentalBuild"]:
        assert "experimental" in found["fix"]
    else:
        assert found["state"] == "ok" or "as root" in found["fix"]


def test_what_an_allowlist_lets_through_is_tried(cli: Any, image: Callable[[str], str], gvisor: bool) -> None:
    found = checks(cli, ENVFARM_BACKEND="docker", ENVFARM_EGRESS__IMAGE=image("egress"))
    for isolation in ("runc", "gvisor") if gvisor else ("runc",):
        probed = found[f"network allowlist, {isolation}"]
        assert probed["state"] == "ok", probed
        assert probed["found"].startswith("a probe reached its proxy, and none of ")


def test_an_image_for_proxies_that_is_not_there_is_said_with_the_fix(cli: Any, docker_base: str) -> None:
    found = checks(cli, ENVFARM_BACKEND="docker", ENVFARM_EGRESS__IMAGE="envfarm-tests/none:1")["network allowlist"]
    assert found["state"] == "note"
    assert "make images" in found["fix"]


def test_no_docker_is_named_with_its_fix(cli: Any) -> None:
    found = checks(cli, code=3, ENVFARM_BACKEND="docker", DOCKER_HOST=f"unix://{cli.folder}/none.sock")
    assert found["docker engine"]["state"] == "missing"
    assert "none.sock" in found["docker engine"]["found"]
    assert found["docker engine"]["fix"]


def test_an_engine_elsewhere_that_is_away_is_told_in_a_few_words(cli: Any) -> None:
    away = {"ENVFARM_BACKEND": "docker", "DOCKER_HOST": "tcp://127.0.0.1:1"}
    assert checks(cli, code=3, **away)["docker engine"]["found"] == (
        "none answers at tcp://127.0.0.1:1: Connection refused"
    )
    error = cli.error("serve", "--port", "0", code=3, **away)
    assert error.startswith("no Docker engine answers at tcp://127.0.0.1:1 (Connection refused); start Docker")


def test_it_changes_nothing(cli: Any) -> None:
    checks(cli)
    assert not (cli.folder / "envfarm-data").exists()


def test_a_broken_task_a_busy_port_and_an_open_host(cli: Any) -> None:
    (cli.folder / "tasks/broken").mkdir(parents=True)
    (cli.folder / "tasks/broken/task.toml").write_text("= 3")
    with socket.create_server(("0.0.0.0", 0)) as taken:
        found = checks(cli, "--tasks", "tasks", "--host", "0.0.0.0", "--port", str(taken.getsockname()[1]), code=3)
    assert found["port"]["state"] == "note"
    assert found["tasks"]["state"] == "note"
    assert "broken" in found["tasks"]["fix"]
    assert found["access"]["state"] == "missing"


def test_an_address_that_only_this_machine_reaches(cli: Any) -> None:
    assert checks(cli, "--host", "127.0.0.2")["access"]["state"] == "ok"


def test_a_database_that_cannot_be_used(cli: Any) -> None:
    (cli.folder / "envfarm-data").mkdir()
    (cli.folder / "envfarm-data/envfarm.db").write_text("this is not a database, it is a text of some length")
    found = checks(cli, code=3)
    assert found["database"]["state"] == "unusable"
    assert found["database"]["fix"]


async def test_a_judge_is_asked_and_its_key_is_never_shown(cli: Any) -> None:
    async with chat_server() as server:
        env = {"ENVFARM_JUDGE__URL": server.url, "ENVFARM_JUDGE__MODEL": "tiny", "ENVFARM_JUDGE__KEY": "k-secret"}
        found = await asyncio.to_thread(checks, cli, **env)
        assert (found["judge"]["state"], found["judge"]["found"]) == ("ok", f"tiny at {server.url}")
        assert server.keys == ["Bearer k-secret"]
        server.script = [Says("no such model", status=404)]
        refused = await asyncio.to_thread(checks, cli, code=3, **env)
        assert refused["judge"]["state"] == "unusable"
        assert "404" in refused["judge"]["found"]
        shown = await asyncio.to_thread(cli, "config", **env)
    assert "k-secret" not in json.dumps(refused) + shown.stdout
    assert checks(cli)["judge"]["state"] == "ok"


def test_wrong_settings_of_a_judge_are_named_without_its_key(cli: Any) -> None:
    url = {"ENVFARM_JUDGE__URL": "http://127.0.0.1:1/v1", "ENVFARM_JUDGE__KEY": "k-secret"}
    assert "set judge.model too" in (error := cli.error("config", code=2, **url))
    assert "k-secret" not in error
    assert "k-secret" not in cli.error("config", code=2, ENVFARM_JUDGE='{"key": "k-secret"')
    assert "ENVFARM_JUDGE" in cli.error("config", code=2, ENVFARM_JUDGE__VOTES="0")
