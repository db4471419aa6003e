"""`envfarm config`."""

from __future__ import annotations

import json
from typing import Any

from envfarm.orchestrator.settings import Settings


def test_it_prints_every_setting_and_where_it_came_from(cli: Any) -> None:
    (cli.folder / "envfarm.toml").write_text("capacity = 7\n")
    shown = json.loads(cli("config", "--json", "--port", "9", ENVFARM_WARM="3").stdout)
    assert set(shown) == set(Settings.model_fields)
    assert shown["capacity"] == {"value": 7, "from": "envfarm.toml"}
    assert shown["port"] == {"value": 9, "from": "--port"}
    assert shown["warm"] == {"value": 3, "from": "ENVFARM_WARM"}
    assert shown["host"]["from"] == "default"
    table = cli("config").stdout
    assert all(name in table for name in Settings.model_fields)


def test_secrets_are_not_shown(cli: Any) -> None:
    env = {"ENVFARM_TOKENS": "hush-one,hush-two", "ENVFARM_TOKEN": "hush-three"}
    assert "hush" not in cli("config", **env).stdout
    assert "hush" not in cli("config", "--json", **env).stdout


def test_an_unknown_key_names_the_nearest(cli: Any) -> None:
    (cli.folder / "envfarm.toml").write_text("capcity = 7\n")
    assert cli.error("config", code=2) == "envfarm.toml: capcity: no such setting; did you mean capacity?"
    (cli.folder / "envfarm.toml").unlink()
    assert "did you mean ENVFARM_PORT?" in cli.error("config", code=2, ENVFARM_PROT="1")
    assert "--port: Input should be a valid integer" in cli.error("config", "--port", "many", code=2)
