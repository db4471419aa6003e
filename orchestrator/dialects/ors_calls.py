"""Calls of the Open Reward Standard: each is a step of one call, over a stream that can be taken up again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import orjson
from aiohttp import web

from envfarm.orchestrator.dialects.turns import in_turn
from envfarm.orchestrator.errors import Moving
from envfarm.orchestrator.farm.steps import ShuttingDown
from envfarm.orchestrator.http.boundary import Nothing, Request, error_body, settled
from envfarm.orchestrator.schemas.episodes import Call, EpisodeView, RewardView, StepRequest, StepView
from envfarm.orchestrator.schemas.ors import ToolCall
from envfarm.toolbox.errors import FarmFull, Gone

UNREAD: web.AppKey[dict[str, tuple[str, str]]] = web.AppKey("ors_unread")
"""By episode: the call whose stream broke before its end, and its step."""

_CHUNK = 4096  # characters of an event; theirs
_WAIT = 600.0  # seconds of one look at a reward
_LONGEST = 10.0  # seconds between two tries at what the farm has no room for

Json = dict[str, Any]


async def call_events(request: Request[Nothing, ToolCall], episode: EpisodeView) -> AsyncIterator[bytes]:
    """The events of one call: the id to take it up with, and its result in pieces."""
    body = request.body
    unread = request.http.app[UNREAD]
    same = sha256(json.dumps([body.name, body.input], sort_keys=True).encode()).hexdigest()
    step_id = body.task_id
    if step_id is None:
        # A client that never read the id calls anew: the same call after a stream that broke is the one that ran.
        last, last_step = unread.get(episode.id, ("", ""))
        step_id = last_step if last == same else f"ors-{same[:24]}-{episode.turn}"
    unread[episode.id] = (same, step_id)
    yield _event("task_id", step_id)
    outcome = await settled(_run(request, episode.id, step_id))
    if isinstance(outcome, Moving | ShuttingDown):
        return  # without an end: the client takes the call up again, at whichever server has the episode then
    if isinstance(outcome, Exception):
        yield _event("error", " ".join(error_body(outcome, episode.id).message.split()))
    else:
        *chunks, end = _pieces(orjson.dumps(outcome).decode())
        for chunk in chunks:
            yield _event("chunk", chunk)
        yield _event("end", end)
    if unread.get(episode.id) == (same, step_id):  # not reached when the stream breaks: then it is closed at a yield
        del unread[episode.id]


async def _run(request: Request[Nothing, ToolCall], id: str, step_id: str) -> Json:
    farm, body = request.farm, request.body
    step = StepRequest(step_id=step_id, calls=[Call(name=body.name, arguments=body.input)])
    async with in_turn(request.http.app, id):
        while True:
            try:
                view = await farm.step(id, step)
                break
            except FarmFull as full:  # the client has no way to wait within a call, so we do
                await asyncio.sleep(min(full.retry_after, _LONGEST))
            except Gone as gone:
                ended = await farm.episode(id)
                if ended.state not in ("scoring", "scored"):
                    raise
                if not ended.truncated:
                    return {"ok": False, "error": str(gone), "reason": "episode_finished"}
                return _success(None, {}, await _reward(request, id))  # by a limit between two calls: nobody was told
    assert view is not None  # no `wait` was given
    return _told(view, await _reward(request, id) if view.terminated or view.truncated else None)


async def _reward(request: Request[Nothing, ToolCall], id: str) -> RewardView:
    while (reward := await request.farm.reward(id, _WAIT)).status == "pending":
        pass  # the stream sends signs of life meanwhile
    return reward


def _told(view: StepView, reward: RewardView | None) -> Json:
    result = view.results[0] if view.results else None
    metadata: Json = {"step_id": view.step_id, "turn": view.turn}
    if result is not None:
        metadata |= result.model_dump(include={"is_error", "exit_code", "truncated", "timed_out", "seconds"})
    return _success(None if result is None else result.content, metadata, reward)


def _success(text: str | None, metadata: Json, reward: RewardView | None) -> Json:
    """What the model is told, and at the end the reward; null when the farm failed, never 0 for that."""
    if reward is not None:
        metadata["reward"] = reward.model_dump(include={"status", "reason", "parts"})
    output = {
        "blocks": [] if text is None else [{"type": "text", "text": text, "detail": None}],
        "metadata": {"envfarm": metadata},
        "reward": None if reward is None else reward.value,
        "finished": reward is not None,
    }
    return {"ok": True, "output": output}


def _pieces(text: str) -> list[str]:
    """JSON in parts that a client can join: it drops white space where the data of an event begins."""
    pieces = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
    return [f"\\u{ord(piece[0]):04x}{piece[1:]}" if piece[0].isspace() else piece for piece in pieces]


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()
