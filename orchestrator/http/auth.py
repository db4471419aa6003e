"""Who may call: bearer tokens, for the whole farm or for one run; without tokens only this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_address

from envfarm.orchestrator.errors import Forbidden, Unauthorized
from envfarm.toolbox.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls; `run` is the only run it may see, None for all."""

    run: str | None = None


ANYONE = Caller()


class Auth:
    """Checks the `Authorization` header. Tokens are written `TOKEN`, or `TOKEN:RUN` for one run only.

    Raises BadRequest for a token that is empty: anybody could send it.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        if not all(token.partition(":")[0].strip() for token in tokens):
            raise BadRequest("tokens: one is empty; write each as TOKEN or TOKEN:RUN")
        # Keyed by digest: a look-up by the token itself would tell by its time how much of a guess is right.
        self._callers = {_digest(token): Caller(run or None) for token, _, run in (t.partition(":") for t in tokens)}

    @property
    def open(self) -> bool:
        """Whether there are no tokens: then only this machine may call."""
        return not self._callers

    def caller(self, authorization: str | None, host: str, origin: str | None) -> Caller:
        """Who sent a request with these headers. Raises Unauthorized, Forbidden."""
        if self.open:
            _local_only(host, origin)
            return ANYONE
        if authorization is None:
            raise Unauthorized("send the header `Authorization: Bearer TOKEN`")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized("the header `Authorization` is no bearer token; write `Bearer TOKEN`")
        caller = self._callers.get(_digest(token.strip()))
        if caller is None:
            raise Unauthorized("the token is not known; check the server's setting `tokens`")
        return caller


@lru_cache(maxsize=64)
def loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def credential(headers: Mapping[str, str]) -> str | None:
    """What a request shows to be let in, as an `Authorization` header; some clients send only X-API-Key."""
    if (authorization := headers.get("Authorization")) is not None:
        return authorization
    key = headers.get("X-API-Key")
    return None if key is None else f"Bearer {key}"


def _local_only(host: str, origin: str | None) -> None:
    """Keep web pages in this machine's browser out: they reach loopback too, by their own or a rebound name."""
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if not loopback(name):
        raise Forbidden(f"a server without tokens answers only to localhost, not to {host!r}; set `tokens`")
    if origin is not None and origin.partition("://")[2] != host:
        raise Forbidden(f"a server without tokens answers no page of {origin}; set `tokens`")


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()
