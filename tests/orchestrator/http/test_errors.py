"""Whatever is wrong has the one error shape, names the field and the fix, and breaks nothing."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest

from envfarm.orchestrator.farm.farm import Farm
from envfarm.orchestrator.farm.steps import ShuttingDown
from envfarm.toolbox.errors import BackendUnavailable, FarmError, SandboxStartError

Api = Any
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

EPISODES = "/v1/episodes"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "type", "message"),
    [
        ("GET", "/v1/nothing", None, 404, "not_found", "no path /v1/nothing; /docs has all"),
        ("PATCH", EPISODES, None, 405, "method_not_allowed", "/v1/episodes takes GET, POST"),
        ("POST", EPISODES, b"{not json", 400, "bad_request", "body: Invalid JSON"),
        ("POST", EPISODES, b"[]", 400, "bad_request", "body: Input should be an object"),
        ("POST", EPISODES, b"\xff\xfe", 400, "bad_request", "body: Invalid JSON"),
        ("POST", EPISODES, b"", 400, "bad_request", "body: give either task_id, or dataset with index or seed"),
        ("POST", EPISODES, {"task_id": "a", "dataset": "b"}, 400, "bad_request", "give either task_id"),
        ("POST", EPISODES, {"task": "a"}, 400, "bad_request", "body: task: no such field; did you mean task_id?"),
        ("POST", EPISODES, {"task_id": "a", "zzz": 1}, 400, "bad_request", "body: zzz: no such field; known: task_id"),
        ("POST", EPISODES, {"task_id": "a", "n": 0}, 400, "bad_request", "n: Input should be greater than or equal"),
        ("POST", EPISODES, {"task_id": "a", "n": "x"}, 400, "bad_request", "n: Input should be a valid integer"),
        (
            "POST",
            EPISODES,
            {"task_id": "a", "limits": {"max_turn": 1}},
            400,
            "bad_request",
            "limits.max_turn: no such field; did you mean max_turns?",
        ),
        ("POST", EPISODES, {"task_id": "toy/none"}, 404, "not_found", "toy/none"),
        ("POST", EPISODES, {"task_id": "../../etc"}, 404, "not_found", "etc"),
        ("POST", f"{EPISODES}/x/steps", {"calls": []}, 400, "bad_request", "body: step_id: Field required"),
        (
            "POST",
            f"{EPISODES}/x/steps",
            {"step_id": "s", "calls": [{"nam": "bash", "name": "bash"}]},
            400,
            "bad_request",
            "calls.0.nam: no such field; did you mean name?",
        ),
        ("POST", f"{EPISODES}/x/steps", {"step_id": "a b", "calls": []}, 400, "bad_request", "step_id: String should"),
        ("POST", f"{EPISODES}/x/steps", {"step_id": "s", "calls": []}, 404, "not_found", "no episode"),
        ("GET", f"{EPISODES}/none", None, 404, "not_found", "no episode"),
        ("GET", f"{EPISODES}/none/reward", None, 404, "not_found", "no episode"),
        ("DELETE", f"{EPISODES}/none", None, 404, "not_found", "no episode"),
        ("GET", f"{EPISODES}?limit=0", None, 400, "bad_request", "query: limit: Input should be greater"),
        ("GET", f"{EPISODES}?limti=1", None, 400, "bad_request", "query: limti: no such field; did you mean limit?"),
        ("GET", f"{EPISODES}?state=dead", None, 400, "bad_request", "query: state: Input should be 'queued'"),
        ("GET", f"{EPISODES}?cursor=!!", None, 400, "bad_request", "cursor"),
        ("GET", "/v1/tasks/none", None, 404, "not_found", "none"),
        ("GET", "/v1/tools?format=xml", None, 400, "bad_request", "query: format: Input should be 'openai'"),
        ("GET", "/v1/runs/none", None, 404, "not_found", "no run"),
        ("PUT", "/v1/runs/r", b'{"qps": {"bash": 1e999}}', 400, "bad_request", "Input should be a finite number"),
        ("PUT", "/v1/runs/r", {"qps": {"bash": 0}}, 400, "bad_request", "qps.bash: Input should be greater than 0"),
        ("PUT", "/v1/runs/a%20b", {}, 400, "bad_request", "run: String should match"),
        ("GET", "/v1/episodes/a%00b", None, 400, "bad_request", "the URL holds a NUL character"),
        ("GET", "/v1/episodes?run=a%00b", None, 400, "bad_request", "the URL holds a NUL character"),
        ("GET", f"/v1/rewards?after={1 << 63}", None, 400, "bad_request", "query: after: Input should be less than"),
        ("POST", EPISODES, {"dataset": "toy", "seed": 1 << 63}, 400, "bad_request", "body: seed: Input should be less"),
        ("POST", EPISODES, b'{"task_id": "\\ud800"}', 400, "bad_request", "body: Invalid JSON"),
        ("POST", EPISODES, b"[" * 100_000, 400, "bad_request", "body: Invalid JSON: recursion limit exceeded"),
        ("GET", "/v1/rewards?after=-1", None, 400, "bad_request", "query: after"),
        ("POST", "/v1/leases:renew", {}, 400, "bad_request", "body: give either run or ids"),
        ("POST", "/v1/batch:steps", {"steps": []}, 400, "bad_request", "body: steps: List should have at least 1"),
        ("GET", "/v1/artifacts/sha256:1", None, 400, "bad_request", "is not a digest"),
        ("GET", "/v1/artifacts/sha256:" + "0" * 64, None, 404, "not_found", "no artefact"),
        ("GET", "/v1/artifacts/..%2f..%2fetc%2fpasswd", None, 400, "bad_request", "is not a digest"),
    ],
)
async def test_bad_input(api: Api, method: str, path: str, body: Any, status: int, type: str, message: str) -> None:
    answer = await api(method, path, body)
    error = answer.error
    assert (answer.status, error["type"], error["retryable"]) == (status, type, False)
    assert message in error["message"]
    assert "\n" not in error["message"]


async def test_a_405_says_what_is_allowed(api: Api) -> None:
    assert (await api("PUT", "/v1/tasks")).headers["Allow"] == "GET"


async def test_headers_are_checked_too(api: Api) -> None:
    for headers, message in (
        ({"X-Run-Id": "a b"}, "run: String should match"),
        ({"Idempotency-Key": "k" * 300}, "Idempotency-Key"),
    ):
        answer = await api.post(EPISODES, {"task_id": "toy/one"}, headers=headers)
        assert answer.status == 400
        assert message in answer.error["message"]


async def test_a_body_that_is_not_in_its_encoding(api: Api) -> None:
    answer = await api.post(EPISODES, b"nope", headers={"Content-Encoding": "gzip"})
    assert answer.status == 400
    assert "Content-Encoding" in answer.error["message"]


async def test_a_small_body_that_unpacks_to_a_huge_one(api: Api) -> None:
    bomb = gzip.compress(bytes(100_000_000))
    answer = await api.post(EPISODES, bomb, headers={"Content-Encoding": "gzip"})
    assert (answer.status, answer.error["type"]) == (413, "too_large")


async def test_a_huge_body_is_refused_and_the_server_goes_on(serve: Any, farm: Farm) -> None:
    api = await serve(farm, body_limit=10_000)

    async def chunks() -> Any:
        for _ in range(100):
            yield b" " * 1000

    whole = await api.post(EPISODES, b" " * 100_000)
    assert (whole.status, whole.error["type"]) == (413, "too_large")
    assert "more than 10000 bytes" in whole.error["message"]
    async with api.session.post(api.url + EPISODES, data=chunks()) as chunked:
        assert chunked.status == 413
    assert (await api.post(EPISODES, {"task_id": "toy/one"})).status == 202


async def test_a_full_farm_says_when_to_come_again(serve: Any, open_farm: Any) -> None:
    farm = await open_farm(capacity=1)
    api = await serve(farm)
    await api.create(n=21)  # one runs, twenty wait: the queue's length
    answer = await api.post(EPISODES, {"task_id": "toy/one"})
    assert (answer.status, answer.error["type"], answer.error["retryable"]) == (429, "quota", True)
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


async def test_an_engine_that_is_away_is_retryable(api: Api, backend: Any) -> None:
    async def away(owner: str) -> list[Any]:
        raise BackendUnavailable("no engine answers")

    backend.find = away
    ready = await api.get("/ready")
    assert (ready.status, ready.json["ready"], ready.json["checks"]["backend"]) == (503, False, "no engine answers")


@pytest.mark.parametrize(
    ("error", "retry_after"),
    [
        (BackendUnavailable("no engine answers"), "5"),
        (ShuttingDown("the server is shutting down"), "5"),
        (SandboxStartError("the engine refused"), None),
    ],
)
async def test_a_503_says_when_the_same_call_can_succeed(
    api: Api, farm: Farm, monkeypatch: pytest.MonkeyPatch, error: FarmError, retry_after: str | None
) -> None:
    async def fails(id: str) -> Any:
        raise error

    monkeypatch.setattr(farm, "task", fails)
    answer = await api.get("/v1/tasks/toy/one")
    assert (answer.status, answer.error["type"], answer.error["retryable"]) == (503, "infra_error", True)
    assert answer.error["message"] == str(error)
    assert answer.headers.get("Retry-After") == retry_after


async def test_a_lost_sandbox_is_not_to_be_tried_again(api: Api, backend: Any) -> None:
    id = await api.running()
    await api.step(id, "true", step_id="first")
    backend.lose(next(iter(backend.sandboxes)))
    answer = await api.step(id, "true")
    assert (answer.status, answer.error["type"], answer.error["retryable"]) == (503, "infra_error", False)
    assert "Retry-After" not in answer.headers
    assert (await api.step(id, "true")).status == 410


async def test_what_nobody_foresaw_is_an_answer_without_secrets(
    api: Api, farm: Farm, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(id: str) -> Any:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(farm, "task", broken)
    answer = await api.get("/v1/tasks/toy/one")
    assert (answer.status, answer.error["type"], answer.error["retryable"]) == (500, "infra_error", True)
    assert "secret" not in answer.error["message"]
    assert "secret detail" in caplog.text
    assert (await api.get("/health")).status == 200


async def test_the_servers_end_answers_those_who_wait(serve: Any, farm: Farm, backend: Any) -> None:
    api = await serve(farm)
    one, two = await api.running(), await api.running()
    backend.latency = 3600
    waiting = [
        asyncio.create_task(api.get(f"{EPISODES}/{one}/reward?wait=600")),
        asyncio.create_task(api.step(two, "true")),
        asyncio.create_task(api.get("/v1/rewards?wait=600")),
    ]
    await asyncio.sleep(0.1)
    await api.runner.cleanup()
    for answer in await asyncio.gather(*waiting):
        assert (answer.status, answer.error["type"], answer.error["retryable"]) == (503, "infra_error", True)
        assert "shutting down" in answer.error["message"]
        assert answer.headers["Retry-After"] == "5"


async def test_a_client_that_leaves_does_not_end_its_step(api: Api, backend: Any) -> None:
    id = await api.running()
    backend.latency = 0.1
    task = asyncio.create_task(api.step(id, "echo done > /f"))
    await asyncio.sleep(0.05)
    task.cancel()
    result = await api.get(f"{EPISODES}/{id}/steps/s1?wait=10")
    assert (result.status, result.json["results"][0]["exit_code"]) == (200, 0)
