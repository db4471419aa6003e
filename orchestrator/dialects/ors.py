"""The Open Reward Standard: splits, tasks and sessions, as `openreward` 0.1.167 and TRL's `OpenRewardSpec` call them.

A session is the episode that its id made, as an idempotency key, so nothing is kept here that a restart would lose.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel

from envfarm import __version__
from envfarm.orchestrator.dialects.ors_calls import UNREAD, call_events
from envfarm.orchestrator.farm.catalogue import select_tasks
from envfarm.orchestrator.farm.episodes import dataset_of
from envfarm.orchestrator.http.boundary import JSON, Nothing, Request, Route
from envfarm.orchestrator.http.sse import stream
from envfarm.orchestrator.schemas.episodes import EpisodeRequest, EpisodeView
from envfarm.orchestrator.schemas.ors import Create, CreateSession, InSplit, InSplitAt, InSplitFromTo, ToolCall
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import BadRequest, Gone, NotFound

Json = dict[str, Any]
B = TypeVar("B", bound=BaseModel)
Plain = Request[Nothing, Nothing]
Answer = Awaitable[web.StreamResponse]

_SESSION = "X-Session-ID"
_SID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,159}")
_STARTING = {"X-Backend-State": "starting", "Retry-After": "1"}  # clients ask again for ten minutes
_PATIENCE = 25.0  # seconds that one request waits for a sandbox; theirs
_PAGE = 1000
_TRAIN = "train"  # where a task is that names no split: the split that TRL asks for
_TYPES = ("train", "validation", "test")
_LOST = frozenset({"expired", "failed", "cancelled"})


def of_session(handler: Callable[[Request[Any, B], EpisodeView], Answer]) -> Callable[[Request[Any, B]], Answer]:
    """A handler of a session's episode; another server's episode is answered by that one."""

    async def handle(request: Request[Any, B]) -> web.StreamResponse:
        id = await _episode(request)
        sent = await request.elsewhere(id)
        return sent if sent is not None else await handler(request, await request.farm.episode(id))

    handle.__doc__ = handler.__doc__
    return handle


async def health(_: Plain) -> web.Response:
    """The server is up."""
    return _json({"status": "ok"})


async def version(_: Plain) -> web.Response:
    """Its version."""
    return _json({"version": __version__, "build_sha": None})


async def environments(request: Plain) -> web.Response:
    """The environments: one for each dataset."""
    return _json(list(dict.fromkeys(dataset_of(task.id) for task in request.farm.registry.all())))


async def splits(request: Plain) -> web.Response:
    """The splits of an environment."""
    names = dict.fromkeys(_split(task) for task in _tasks(request, _environment(request)))
    return _json([{"name": name, "type": name if name in _TYPES else "validation"} for name in names])


async def tools(request: Plain) -> web.Response:
    """The tools of an environment's tasks, all together."""
    found = await request.farm.tools(dataset=_environment(request), format="mcp", limit=_PAGE)
    return _json(_tools([one.root for one in found.items]))


async def tasks(request: Request[Nothing, InSplit]) -> web.Response:
    """The tasks of a split."""
    found = _of_split(request, request.body.split)
    return _json({"tasks": [_spec(task) for task in found], "env_name": _name(request)})


async def num_tasks(request: Request[Nothing, InSplit]) -> web.Response:
    """How many tasks a split has."""
    return _json({"num_tasks": len(_of_split(request, request.body.split))})


async def task(request: Request[Nothing, InSplitAt]) -> web.Response:
    """A task by its place in a split."""
    found = _at(_of_split(request, request.body.split), request.body.index)
    return _json({"task": _spec(found), "env_name": _name(request)})


async def task_range(request: Request[Nothing, InSplitFromTo]) -> web.Response:
    """Some tasks of a split."""
    found = _of_split(request, request.body.split)[request.body.start : request.body.stop]
    return _json({"tasks": [_spec(task) for task in found], "env_name": _name(request)})


async def create_session(request: Request[Nothing, CreateSession]) -> web.StreamResponse:
    """The id of a new session, as an event."""

    async def events() -> AsyncIterator[bytes]:
        yield b"event: task_id\ndata: %b\n\n" % secrets.token_hex(16).encode()
        yield b"event: end\ndata: \n\n"

    return await stream(request.http, events(), encode=bytes)


async def create(request: Request[Nothing, Create]) -> web.Response:
    """Create the episode of a session, without waiting for its sandbox; again, it changes nothing."""
    body = request.body
    if body.task_spec is not None:
        id = body.task_spec["task_id"]
    else:
        assert body.split is not None
        assert body.index is not None
        id = _at(_of_split(request, body.split, body.env_name), body.index).id
    sid = _sid(request)
    await request.farm.create(EpisodeRequest(task_id=id), run=_run(request), idempotency_key=_key(sid))
    return _json({"sid": sid})


@of_session
async def ping(request: Plain, episode: EpisodeView) -> web.Response:
    """Renew the lease of a session. 410 when it is lost."""
    _see_that_it_is_there(episode)
    await request.farm.renew(ids=[episode.id])
    return _json({"status": "ok"})


@of_session
async def prompt(_: Plain, episode: EpisodeView) -> web.Response:
    """What the task of a session asks for, as blocks."""
    return _json([_text(message.content) for message in episode.messages])


@of_session
async def messages(_: Plain, episode: EpisodeView) -> web.Response:
    """The same as messages with roles."""
    return _json([{"role": one.role, "blocks": [_text(one.content)], "detail": None} for one in episode.messages])


@of_session
async def task_tools(request: Plain, episode: EpisodeView) -> web.Response:
    """The tools of a session's task."""
    found = await request.farm.tools(task=episode.task, format="mcp", limit=_PAGE)
    return _json(_tools([one.root for one in found.items]))


@of_session
async def call(request: Request[Nothing, ToolCall], episode: EpisodeView) -> web.StreamResponse:
    """Call a tool, over a stream that can be taken up again; the end of the episode brings its reward."""
    if episode.state in ("queued", "starting"):
        episode = await request.farm.episode(episode.id, _PATIENCE)
        if episode.state in ("queued", "starting"):
            return web.Response(status=503, body=orjson.dumps({"detail": "starting"}), headers={**JSON, **_STARTING})
    _see_that_it_is_there(episode)
    return await stream(request.http, call_events(request, episode), encode=bytes)


async def score_group(request: Plain) -> web.Response:
    """There is no judge of groups: rewards are those of each episode."""
    raise NotFound("score_group: this farm scores each episode; group its rewards by task in the trainer")


async def delete(request: Plain) -> web.StreamResponse:
    """End a session: an episode that has no reward yet is cancelled; again, it changes nothing."""
    sid = _sid(request)
    made = await request.farm.made(_run(request), _key(sid))
    if made:
        if (sent := await request.elsewhere(made[0])) is not None:
            return sent
        await request.farm.cancel(made[0])
        request.http.app[UNREAD].pop(made[0], None)
    return _json({"sid": sid})


async def delete_session(request: Plain) -> web.Response:
    """Forget a session id; nothing was kept of it."""
    return _json({"sid": _sid(request)})


def _sid(request: Request[Any, Any]) -> str:
    sid = request.http.headers.get(_SESSION, "").strip()
    if not sid:
        raise BadRequest(f"{_SESSION}: send the session id that /create_session answered")
    if not _SID.fullmatch(sid):
        raise BadRequest(f"{_SESSION}: {sid[:80]!a} is no session id; send the one that /create_session answered")
    return sid


def _key(sid: str) -> str:
    return f"ors-{sid}"


def _run(request: Request[Any, Any]) -> str:
    return request.run(None) or "default"


async def _episode(request: Request[Any, Any]) -> str:
    """The episode of a session. Raises NotFound, BadRequest (no session is named)."""
    sid = _sid(request)
    made = await request.farm.made(_run(request), _key(sid))
    if not made:
        raise NotFound(f"{_SESSION}: no session {sid[:80]!r} here; /create comes first")
    return made[0]


def _see_that_it_is_there(episode: EpisodeView) -> None:
    if episode.state in _LOST:
        raise Gone(f"episode {episode.id} is {episode.state} ({episode.reason})")


def _environment(request: Request[Any, Any], named: str | None = None) -> str | None:
    """The dataset that a request is about; None: all of them. Raises NotFound (the path names another)."""
    datasets = {dataset_of(task.id) for task in request.farm.registry.all()}
    asked = request.http.match_info.get("env")
    if asked is not None and asked not in datasets:
        raise NotFound(f"no environment {asked[:80]!r} here; there are {', '.join(sorted(datasets))}")
    # Without a path, newer clients tell what a person called the environment, which need not be a name of ours.
    told = asked or named or request.http.headers.get("X-Deployment", "").rpartition("/")[2]
    return told if told in datasets else None


def _name(request: Request[Any, Any]) -> str:
    return _environment(request) or "envfarm"


def _tasks(request: Request[Any, Any], dataset: str | None) -> list[Task]:
    return select_tasks(request.farm.registry, dataset=dataset)


def _of_split(request: Request[Any, Any], split: str, named: str | None = None) -> list[Task]:
    found = _tasks(request, _environment(request, named))
    chosen = [task for task in found if _split(task) == split]
    if not chosen:
        there = ", ".join(sorted({_split(task) for task in found}))
        raise BadRequest(f"split: no task is in {split[:80]!r}; there are {there}")
    return chosen


def _split(task: Task) -> str:
    return str(task.config.metadata.get("split", _TRAIN))


def _at(tasks: Sequence[Task], index: int) -> Task:
    if not -len(tasks) <= index < len(tasks):
        raise BadRequest(f"index: {index} is outside of the {len(tasks)} tasks of the split")
    return tasks[index]


def _spec(task: Task) -> Json:
    return {"task_id": task.id, "kind": task.kind, "language": task.config.envfarm.language}


def _tools(found: list[Json]) -> Json:
    specs = [{"name": t["name"], "description": t["description"], "input_schema": t["inputSchema"]} for t in found]
    return {"tools": specs, "terminal_tool": None, "supports_score_group": False, "message_block_types": ["text"]}


def _text(text: str) -> Json:
    return {"type": "text", "text": text, "detail": None}


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), headers=JSON)


def _routes() -> tuple[Route, ...]:
    json_ = "application/json"
    events = "text/event-stream"
    plain = (
        Route("GET", "/health", health, json_, open=True),
        Route("GET", "/version", version, json_),
        Route("GET", "/list_environments", environments, json_),
        Route("POST", "/create_session", create_session, events, body=CreateSession),
        Route("POST", "/create", create, json_, body=Create),
        Route("POST", "/ping", ping, json_),
        Route("POST", "/delete", delete, json_),
        Route("POST", "/delete_session", delete_session, json_),
    )
    # Clients that were told of no environment leave its name out.
    of_one = (
        Route("GET", "/splits", splits, json_),
        Route("GET", "/tools", tools, json_),
        Route("POST", "/tasks", tasks, json_, body=InSplit),
        Route("POST", "/num_tasks", num_tasks, json_, body=InSplit),
        Route("POST", "/task", task, json_, body=InSplitAt),
        Route("POST", "/task_range", task_range, json_, body=InSplitFromTo),
        Route("GET", "/prompt", prompt, json_),
        Route("GET", "/messages", messages, json_),
        Route("GET", "/task_tools", task_tools, json_),
        Route("POST", "/call", call, events, body=ToolCall),
        Route("POST", "/score_group", score_group, json_),
    )
    named = tuple(replace(route, path="/{env}" + route.path) for route in of_one)
    return (*plain, *of_one, *named)


ROUTES = _routes()
