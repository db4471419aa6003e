"""A farm behind a port: who may call it, where commands find it, and that nothing is left of it."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

from envfarm.orchestrator.http.serving import reachable, serving
from envfarm.orchestrator.settings import Settings, load
from envfarm.trainers.client import Client, Unauthorized


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A simulated farm on a free port."""
    monkeypatch.chdir(tmp_path)
    return load({"backend": "simulated", "port": 0, "data": tmp_path / "data"}).settings


async def test_it_is_announced_while_it_runs(settings: Settings) -> None:
    announced = settings.data / "server.json"
    async with serving(settings) as server:
        assert json.loads(announced.read_text())["url"] == server.url
        assert server.token is None
        async with Client(server.url) as client:
            listed = [task async for task in client.tasks()]
        assert server.registry is not None
        assert [task["id"] for task in listed] == list(server.registry.ids())
    assert not announced.exists()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"{server.url}/health")


async def test_commands_find_the_server_that_works_in_the_data_folder(settings: Settings) -> None:
    private = settings.model_copy(update={"tokens": Settings(tokens=("secret:team", "other")).tokens})
    async with serving(private) as server, reachable(private) as found:
        assert (found.url, found.token) == (server.url, "secret")


async def test_without_a_server_commands_get_one_that_only_they_can_call(settings: Settings) -> None:
    async with reachable(settings) as found:
        async with Client(found.url, token=found.token, patience=0) as client:
            assert [episode async for episode in client.episodes()] == []
        async with Client(found.url, patience=0) as stranger:
            with pytest.raises(Unauthorized):
                await stranger.get_run("default")


async def test_a_url_that_is_given_is_taken_as_it_is(settings: Settings) -> None:
    chosen = settings.model_copy(update={"url": "http://farm.example", "token": Settings(token="t").token})
    async with reachable(chosen) as found:
        assert (found.url, found.token) == ("http://farm.example", "t")
    assert not settings.data.exists()


@pytest.mark.parametrize("host", ["127.0.0.2", "localhost"])
async def test_an_address_that_only_this_machine_reaches_needs_no_token(settings: Settings, host: str) -> None:
    local = settings.model_copy(update={"host": host})
    async with serving(local) as server, Client(server.url, patience=0) as client:
        assert [episode async for episode in client.episodes()] == []
