"""Runs: their quotas, rewards, leases and events."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from envfarm.orchestrator.errors import Forbidden, Moving
from envfarm.orchestrator.http.boundary import Nothing, Request
from envfarm.orchestrator.http.forwarding import FORWARDER, HOP
from envfarm.orchestrator.http.routes.queries import Events, Group, Rewards
from envfarm.orchestrator.http.sse import encode, stream
from envfarm.orchestrator.schemas.base import Name
from envfarm.orchestrator.schemas.episodes import GroupView, RewardsView
from envfarm.orchestrator.schemas.runs import LeaseRequest, LeaseView, RunRequest, RunView
from envfarm.toolbox.errors import BadRequest, NotFound
from envfarm.toolbox.explain import explain

logger = logging.getLogger(__name__)

_ASK = 5.0  # seconds for another server to renew leases
_NAME: TypeAdapter[str] = TypeAdapter(Name)


def run_name(run: str) -> str:
    """A run's name from a path or a header. Raises BadRequest."""
    try:
        return _NAME.validate_python(run)
    except ValidationError as error:
        raise BadRequest(f"run: {explain(error)}") from None


async def put(request: Request[Nothing, RunRequest]) -> RunView:
    """Set the quotas of a run; a token for one run may not."""
    if request.caller.run is not None:
        raise Forbidden("quotas are set with a token for the whole farm")
    return await request.farm.put_run(run_name(request.path("run")), request.body)


async def get(request: Request[Nothing, Nothing]) -> RunView:
    """A run with its quotas and its episodes by state."""
    run = run_name(request.path("run"))
    request.run(run)
    return await request.farm.run(run)


async def rewards(request: Request[Rewards, Nothing]) -> RewardsView:
    """Rewards in the order in which they became ready, after a cursor."""
    query = request.query
    return await request.farm.rewards(run=request.run(query.run), after=query.after, wait=query.wait, limit=query.limit)


async def group(request: Request[Group, Nothing]) -> GroupView:
    """The episodes of a group, and how they stand together."""
    run = request.run(request.query.run) or "default"
    return await request.farm.group(run, request.path("group"))


async def renew(request: Request[Nothing, LeaseRequest]) -> LeaseView:
    """A heartbeat: renew the leases of a run's live episodes, or of some episodes."""
    body = request.body
    if body.ids is None:
        view = await request.farm.renew(run=request.run(body.run))
        peers = [] if HOP in request.http.headers else request.farm.servers.peers()
        asked = [_renewed(request, peer, {"run": body.run}) for peer in peers]
        return _sum([view, *await asyncio.gather(*asked)])
    mine, others = [], []
    for id in body.ids:
        try:
            await request.may_see(id)
        except NotFound:
            others.append(id)
        else:
            mine.append(id)
    elsewhere = await request.http.app[FORWARDER].split(mine, request.http)
    asked = [_renewed(request, owner, {"ids": ids}) for owner, ids in elsewhere.items()]
    there = {id for ids in elsewhere.values() for id in ids}
    view = await request.farm.renew(ids=[id for id in mine if id not in there])
    view.gone.extend(others)
    return _sum([view, *await asyncio.gather(*asked)])


async def _renewed(request: Request[Nothing, LeaseRequest], owner: str, body: dict[str, Any]) -> LeaseView:
    """What another server renews; nothing when it is away: leases start anew where its episodes go on."""
    try:
        async with asyncio.timeout(_ASK):
            return LeaseView.model_validate(await request.http.app[FORWARDER].ask(request.http, owner, body))
    except (Moving, TimeoutError) as error:
        logger.warning("leases: %s", error)
        return LeaseView(renewed=[])


def _sum(views: list[LeaseView]) -> LeaseView:
    """One answer of several servers' answers."""
    first = [one.lease_expires_at for one in views if one.lease_expires_at is not None]
    return LeaseView(
        renewed=[id for one in views for id in one.renewed],
        gone=[id for one in views for id in one.gone],
        lease_expires_at=min(first, default=None),
    )


async def events(request: Request[Events, Nothing]) -> web.StreamResponse:
    """Events as they happen (server-sent events); after a break, Last-Event-ID resumes without a gap."""
    after = request.query.after
    if last := request.http.headers.get("Last-Event-ID"):
        if not (last.isascii() and last.isdigit()) or len(last) > 18:
            raise BadRequest(f"Last-Event-ID: expected the id of an event, not {last[:80]!r}")
        after = int(last)
    return await stream(
        request.http, request.farm.events(run=request.run(request.query.run), after=after), encode=encode
    )
