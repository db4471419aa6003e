"""The farm's HTTP API call by call: one method for each route, answers as the server's JSON objects.

Every call may be lost and sent again without harm: creations carry a key, steps an id. `Farm` and `Episode` are built
on it.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from envfarm.trainers.transport import AWAY, BROKEN, ClientError, Json, Transport

_LONG_POLL = 30.0
_RECONNECT = 1.0  # seconds before events are asked for again


class Client:
    """A farm's HTTP API, at one server or, when `url` lists several that share a store, at whichever answers.

    A request that is not answered, or with "no room now", is tried again for up to `patience` seconds. `timeout` is
    the time to answer one attempt, in seconds, on top of what the call itself may wait.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        token: str | None = None,
        run: str | None = None,
        timeout: float = 60.0,
        patience: float = 60.0,
    ) -> None:
        self.run = run
        self._http = Transport([url] if isinstance(url, str) else url, token, timeout, patience)

    async def __aenter__(self) -> Client:
        self._http.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    # Episodes

    async def create(self, task_id: str | None = None, *, key: str | None = None, **request: Any) -> list[Json]:
        """Create an episode, or a group with `n=`; further fields as in EpisodeRequest. Does not wait for sandboxes."""
        body = {"run": self.run, **request} | ({} if task_id is None else {"task_id": task_id})
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return list((await self._http.request("POST", "/v1/episodes", body, headers=headers))["episodes"])

    async def episode(self, id: str, *, wait: float = 0.0) -> Json:
        """An episode; `wait` waits so many seconds while it is queued or starting."""
        return await self._http.request("GET", f"/v1/episodes/{quote(id)}", query={"wait": wait}, wait=wait)

    async def fork(self, id: str, *, key: str | None = None, **request: Any) -> list[Json]:
        """New episodes that go on where a running one stands, with its steps; `n=` and more as in ForkRequest."""
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        answer = await self._http.request("POST", f"/v1/episodes/{quote(id)}/fork", request, headers=headers)
        return list(answer["episodes"])

    async def step(
        self,
        id: str,
        calls: Sequence[Mapping[str, Any]],
        *,
        step_id: str | None = None,
        turn: int | None = None,
        timeout_s: float | None = None,
        policy_version: str | None = None,
    ) -> Json:
        """Run the calls of one turn and wait for their results, however long they take."""
        step_id = step_id or uuid.uuid4().hex
        body = {
            "step_id": step_id,
            "calls": calls,
            "turn": turn,
            "timeout_s": timeout_s,
            "policy_version": policy_version,
            "wait": _LONG_POLL,
        }
        place = f"/v1/episodes/{quote(id)}/steps"
        answer = await self._http.request("POST", place, body, wait=_LONG_POLL)
        while "results" not in answer:
            query = {"wait": _LONG_POLL}
            answer = await self._http.request("GET", f"{place}/{quote(step_id, safe='')}", query=query, wait=_LONG_POLL)
        return answer

    async def batch(self, steps: Sequence[Mapping[str, Any]]) -> list[Json]:
        """Steps of many episodes at once; each result has `step`, `pending` or `error`."""
        body = {"steps": [{"step_id": uuid.uuid4().hex, **step} for step in steps]}
        return list((await self._http.request("POST", "/v1/batch:steps", body))["results"])

    def steps(self, id: str) -> AsyncIterator[Json]:
        """The recorded steps of an episode."""
        return self._http.pages(f"/v1/episodes/{quote(id)}/steps", {})

    def episodes(self, *, run: str | None = None, state: str | None = None) -> AsyncIterator[Json]:
        """Episodes, newest first."""
        return self._http.pages("/v1/episodes", {"run": run, "state": state})

    async def finish(self, id: str, *, reason: str = "model", answer: str | None = None) -> Json:
        """End an episode and start its scoring."""
        return await self._http.request(
            "POST", f"/v1/episodes/{quote(id)}/finish", {"reason": reason, "answer": answer}
        )

    async def cancel(self, id: str) -> Json:
        """End an episode at once, without a score."""
        return await self._http.request("POST", f"/v1/episodes/{quote(id)}/cancel")

    async def suspend(self, id: str, *, ttl_s: float | None = None) -> Json:
        """Let an episode rest with its sandbox, for `ttl_s` seconds at most."""
        return await self._http.request("POST", f"/v1/episodes/{quote(id)}/suspend", {"ttl_s": ttl_s})

    async def resume(self, id: str, *, policy_version: str | None = None) -> Json:
        """Let a suspended episode go on, under another policy version where one is given."""
        return await self._http.request("POST", f"/v1/episodes/{quote(id)}/resume", {"policy_version": policy_version})

    async def delete(self, id: str) -> None:
        """Cancel an episode if it lives, and forget it."""
        await self._http.request("DELETE", f"/v1/episodes/{quote(id)}")

    async def reward(self, id: str, *, wait: float = 0.0) -> Json:
        """The reward of an episode as it is now, or after `wait` seconds at most."""
        return await self._http.request("GET", f"/v1/episodes/{quote(id)}/reward", query={"wait": wait}, wait=wait)

    async def wait_reward(self, id: str) -> Json:
        """The reward of an episode, once it is no longer pending."""
        while (reward := await self.reward(id, wait=_LONG_POLL))["status"] == "pending":
            pass
        return reward

    # Runs and tasks

    async def rewards(self, *, run: str | None = None, after: int = 0, wait: float = 0.0, limit: int = 100) -> Json:
        """Rewards that became ready after a cursor."""
        query = {"run": run or self.run, "after": after, "wait": wait, "limit": limit}
        return await self._http.request("GET", "/v1/rewards", query=query, wait=wait)

    async def put_run(self, run: str, **request: Any) -> Json:
        """Set the quotas of a run, fields as in RunRequest."""
        return await self._http.request("PUT", f"/v1/runs/{quote(run, safe='')}", request)

    async def get_run(self, run: str) -> Json:
        """A run with its quotas and its episodes by state."""
        return await self._http.request("GET", f"/v1/runs/{quote(run, safe='')}")

    async def renew(self, *, run: str | None = None, ids: Sequence[str] | None = None) -> Json:
        """A heartbeat for a run's episodes, or for some."""
        return await self._http.request("POST", "/v1/leases:renew", {"run": run} if ids is None else {"ids": list(ids)})

    def tasks(self, **filters: str | None) -> AsyncIterator[Json]:
        """Tasks by id; filters are dataset, split and kind."""
        return self._http.pages("/v1/tasks", filters)

    async def task(self, id: str) -> Json:
        """A task with its instruction."""
        return await self._http.request("GET", f"/v1/tasks/{quote(id)}")

    async def tools(self, *, format: str = "openai", **filters: str | None) -> list[Json]:
        """Tool schemas; filters are task, dataset and kind."""
        return [one async for one in self._http.pages("/v1/tools", {"format": format, **filters})]

    async def sample(self, **request: Any) -> Json:
        """Tasks drawn by how they went so far, fields as in SampleRequest."""
        return await self._http.request("POST", "/v1/sample", request)

    def stats(self, **filters: str | None) -> AsyncIterator[Json]:
        """How the episodes of each task went; filters are dataset and run."""
        return self._http.pages("/v1/stats/tasks", filters)

    async def events(self, *, run: str | None = None, after: int | None = None) -> AsyncIterator[Json]:
        """Events as they happen, for ever; what broke is taken up where it broke, also while the server starts again.

        Raises ClientError for a request that is wrong.
        """
        while True:
            query = {"run": run or self.run, "after": after}
            pause = _RECONNECT
            try:
                url = self._http.url + "/v1/events"
                async with self._http.stream("GET", url, query, {}, None, None) as answer:
                    async for line in answer.content:
                        if line.startswith(b"data: ") and line.endswith(b"\n"):  # else it was cut by the end
                            event: Json = json.loads(line[6:])
                            after = event["id"]
                            yield event
            except BROKEN:
                self._http.turn()
            except ClientError as error:
                if error.status not in AWAY:
                    raise
                pause = max(pause, error.retry_after or 0.0)
                self._http.turn()
            else:
                continue  # the server ended it
            await asyncio.sleep(pause)

    async def artifacts(self, id: str) -> dict[str, str]:
        """Name to digest of everything that an episode kept."""
        pages = self._http.pages(f"/v1/episodes/{quote(id)}/artifacts", {})
        return {one["name"]: one["digest"] async for one in pages}

    async def artifact(self, digest: str) -> bytes:
        """An artefact's bytes."""
        place = f"/v1/artifacts/{digest}"

        async def once(url: str) -> bytes:
            async with self._http.stream("GET", url + place, {}, {}, None, self._http.timeout) as answer:
                return await answer.read()

        return await self._http.insist(f"GET {place}", once)

    async def save(self, digest: str, path: Path) -> None:
        """Write an artefact to a file, however large it is; begun anew when the connection breaks."""
        place = f"/v1/artifacts/{digest}"

        async def once(url: str) -> None:
            async with self._http.stream("GET", url + place, {}, {}, None, None) as answer:
                with path.open("wb") as file:
                    async for chunk in answer.content.iter_chunked(1 << 20):
                        file.write(chunk)

        await self._http.insist(f"GET {place}", once)
