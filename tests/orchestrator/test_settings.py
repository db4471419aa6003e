"""Settings: where each value comes from, and what a mistake is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envfarm.orchestrator.errors import SettingsError
from envfarm.orchestrator.settings import PREFIX, Settings, load


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


def test_a_flag_beats_a_variable_which_beats_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("envfarm.toml").write_text("port = 1\ncapacity = 2\nwarm = 3\n")
    monkeypatch.setenv("ENVFARM_PORT", "10")
    monkeypatch.setenv("ENVFARM_CAPACITY", "20")
    loaded = load({"port": 100, "host": None})
    assert (loaded.settings.port, loaded.settings.capacity, loaded.settings.warm) == (100, 20, 3)
    assert loaded.settings.host == "127.0.0.1"
    assert {key: loaded.origins[key] for key in ("port", "capacity", "warm", "host")} == {
        "port": "--port",
        "capacity": "ENVFARM_CAPACITY",
        "warm": "envfarm.toml",
        "host": "default",
    }


def test_lists_and_tables_can_be_written_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVFARM_TASKS", "one, two/three")
    monkeypatch.setenv("ENVFARM_TOKENS", '["a,b", "c"]')
    monkeypatch.setenv("ENVFARM_BASE_IMAGES", "python:3.*=local/python:1")
    settings = load().settings
    assert settings.tasks == (Path("one"), Path("two/three"))
    assert [token.get_secret_value() for token in settings.tokens] == ["a,b", "c"]
    assert settings.base_images == {"python:3.*": "local/python:1"}


def test_a_key_of_a_table_can_be_a_variable_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVFARM_KUBERNETES__QPS", "7")
    monkeypatch.setenv("ENVFARM_KUBERNETES__PLAIN_HTTP", '["registry.example"]')
    loaded = load()
    assert (loaded.settings.kubernetes.qps, loaded.settings.kubernetes.plain_http) == (7.0, ("registry.example",))
    assert loaded.origins["kubernetes"] == "ENVFARM_KUBERNETES"
    monkeypatch.setenv("ENVFARM_KUBERNETES__QPSS", "7")
    with pytest.raises(SettingsError, match=r"^ENVFARM_KUBERNETES\.qpss: no such field; did you mean qps\?$"):
        load()


def test_paths_in_a_file_are_meant_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/farm.toml").write_text('data = "kept"\ntasks = ["mine", "/abs"]\n[base_images]\n"a:*" = "b:1"\n')
    monkeypatch.setenv("ENVFARM_CONFIG", "etc/farm.toml")
    settings = load().settings
    assert settings.data == Path("etc/kept")
    assert settings.tasks == (Path("etc/mine"), Path("/abs"))
    assert settings.base_images == {"a:*": "b:1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("capcity = 3", "envfarm.toml: capcity: no such setting; did you mean capacity?"),
        ("[main]\nport = 3", "envfarm.toml: main: no such setting; `envfarm config` lists the known ones"),
        ("port = 70000", "envfarm.toml: port: Input should be less than or equal to 65535, not 70000"),
        ('isolation = "kvm"', "envfarm.toml: isolation: Input should be 'runc' or 'gvisor', not 'kvm'"),
        ('network = "allowlist"', "envfarm.toml: network: Input should be 'none' or 'public', not 'allowlist'"),
        (
            'database = "mysql://u:secret@h/x"',
            "envfarm.toml: database: write sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME",
        ),
        ('url = "nonsense"', "envfarm.toml: url: write http://HOST:PORT, not 'nonsense'"),
        ("port = = 3", "envfarm.toml: not TOML: Invalid value (at line 1, column 8)"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(text: str, message: str) -> None:
    Path("envfarm.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ENVFARM_PROT", "1", "ENVFARM_PROT: no such setting; did you mean ENVFARM_PORT?"),
        ("ENVFARM_WARM", "lots", "ENVFARM_WARM: Input should be a valid integer"),
        ("ENVFARM_BASE_IMAGES", "python", "ENVFARM_BASE_IMAGES: expected JSON, or key=value,key=value"),
        ("ENVFARM_TASKS", "[1", "ENVFARM_TASKS: not JSON: Expecting"),
        ("ENVFARM_CONFIG", "gone.toml", "ENVFARM_CONFIG: no such file gone.toml; correct it or unset it"),
    ],
)
def test_a_mistake_in_a_variable_is_one_line(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tokens", [":train", " ", "good,:train", "name:", '["good", ""]'])
def test_a_token_that_anybody_could_send_is_refused(tokens: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVFARM_TOKENS", tokens if tokens != " " else '[" "]')
    with pytest.raises(SettingsError) as caught:
        load()
    assert str(caught.value) == "ENVFARM_TOKENS: write each token as TOKEN or TOKEN:RUN; none of the two may be empty"


def test_an_unknown_flag_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean max_turns"):
        load({"max_turn": 3})


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://u:p@db/farm", "postgresql+asyncpg://u:p@db/farm"),
        ("postgres://u@db/farm", "postgresql+asyncpg://u@db/farm"),
        ("sqlite:////var/farm.db", "sqlite+aiosqlite:////var/farm.db"),
        ("postgresql+asyncpg://db/farm", "postgresql+asyncpg://db/farm"),
    ],
)
def test_the_database_gets_the_driver_that_we_use(given: str, used: str) -> None:
    assert load({"database": given}).settings.database_url == used


def test_the_default_database_lies_in_the_data_folder(tmp_path: Path) -> None:
    assert load({"data": Path("kept")}).settings.database_url == f"sqlite+aiosqlite:///{tmp_path}/kept/envfarm.db"


def test_settings_read_no_source_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVFARM_PORT", "1")
    assert Settings().port == 8470
