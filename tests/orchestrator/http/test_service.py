"""The server itself: tasks, tools, artefacts, health, metrics, documentation."""

from __future__ import annotations

import re
from typing import Any

import pytest
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families

from envfarm import __version__
from envfarm.orchestrator.farm.farm import Farm
from envfarm.orchestrator.http.openapi import plain_path
from envfarm.orchestrator.http.routes import ROUTES

Api = Any
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


async def test_tasks_are_paged_and_filtered(api: Api) -> None:
    first = (await api.get("/v1/tasks?limit=1")).json
    assert [task["id"] for task in first["items"]] == ["toy/one"]
    second = (await api.get("/v1/tasks", params={"limit": 1, "cursor": first["next"]})).json
    assert ([task["id"] for task in second["items"]], second["next"]) == (["toy/two"], None)
    assert (await api.get("/v1/tasks?dataset=none")).json["items"] == []
    assert len((await api.get("/v1/tasks?kind=toy&split=train")).json["items"]) == 2


async def test_the_root_leads_to_the_pages(api: Api) -> None:
    answer = await api.get("/", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (302, "/docs")


async def test_one_task(api: Api) -> None:
    task = (await api.get("/v1/tasks/toy/one")).json
    assert (task["id"], task["dataset"], task["kind"]) == ("toy/one", "toy", "toy")
    assert task["instruction"] == "Write 1 into /mark (toy/one).\n"


@pytest.mark.parametrize("format", ["openai", "responses", "mcp"])
async def test_tools_in_each_format(api: Api, format: str) -> None:
    tools = (await api.get(f"/v1/tools?task=toy/one&format={format}")).json["items"]
    heads = [tool["function"] if format == "openai" else tool for tool in tools]
    assert [head["name"] for head in heads] == ["bash", "finish"]
    schema = heads[0]["inputSchema" if format == "mcp" else "parameters"]
    assert schema["required"] == ["command"]


async def test_tools_are_paged(api: Api) -> None:
    first = (await api.get("/v1/tools?format=mcp&limit=1")).json
    assert [tool["name"] for tool in first["items"]] == ["bash"]
    second = (await api.get(f"/v1/tools?format=mcp&limit=1&cursor={first['next']}")).json
    assert ([tool["name"] for tool in second["items"]], second["next"]) == (["finish"], None)
    wrong = await api.get("/v1/tools?cursor=bm9uZQ")
    assert (wrong.status, wrong.json["error"]["type"]) == (400, "bad_request")
    assert "no tool 'none' here; leave it out" in wrong.json["error"]["message"]


async def test_an_artefact_whole_and_in_part(api: Api, farm: Farm) -> None:
    data = "grün\n".encode() * 100_000
    digest = farm.artifacts.put(data)
    whole = await api.get(f"/v1/artifacts/{digest}")
    assert (whole.status, whole.data) == (200, data)
    assert whole.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    part = await api.get(f"/v1/artifacts/{digest}", headers={"Range": "bytes=6-9"})
    assert (part.status, part.data) == (206, data[6:10])
    binary = await api.get(f"/v1/artifacts/{farm.artifacts.put(b'<script>' + bytes(10))}?name=a%22%0Ab.html")
    assert binary.headers["Content-Type"] == "application/octet-stream"
    assert binary.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a%22%0Ab.html"


async def test_health_and_readiness(api: Api) -> None:
    assert (await api.get("/health")).json == {"status": "ok", "version": __version__}
    ready = await api.get("/ready")
    assert (ready.status, ready.json["ready"]) == (200, True)


async def test_metrics(api: Api) -> None:
    await api.running()
    await api.get("/v1/nothing")
    text = (await api.get("/metrics")).data.decode()
    values = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values[("envfarm_sandboxes", ("state", "leased"))] == 1
    assert values[("envfarm_episodes", ("state", "running"))] == 1
    assert values[("envfarm_cold_starts_total",)] == 1
    count = "envfarm_http_request_seconds_count"
    assert values[(count, ("method", "POST"), ("path", "/v1/episodes"), ("status", "202"))] == 1
    assert values[(count, ("method", "GET"), ("path", "/v1/episodes/{id}"), ("status", "200"))] == 1
    assert values[(count, ("method", "any"), ("path", "unknown"), ("status", "404"))] == 1


async def test_the_openapi_document_is_valid_and_has_every_route(api: Api) -> None:
    document = (await api.get("/openapi.json")).json
    validate(document)
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(route.method, plain_path(route.path)) for route in ROUTES}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            assert "default" in operation["responses"]
    parameters = {p["name"]: p["in"] for p in document["paths"]["/v1/episodes"]["get"]["parameters"]}
    assert parameters == {"run": "query", "state": "query", "cursor": "query", "limit": "query"}
    operations = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(operations) == len(set(operations))


async def test_the_docs_page_has_every_route_and_loads_nothing(api: Api) -> None:
    page = (await api.get("/docs")).data.decode()
    for route in ROUTES:
        assert f"<b>{route.method}</b> <code>{plain_path(route.path)}</code>" in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    anchors = set(re.findall(r'id="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= anchors
