"""Which addresses the farm reads pages from: listed hosts, and never a network that only the farm can reach.

A model chooses the urls, so each is taken as an attempt to reach what stands behind the farm's firewall. A name is
looked up once and its addresses are looked at; the connection goes to those, so that a second look-up cannot lead
elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from envfarm.toolbox.egress.proxy import Network, Rule, hostname, public
from envfarm.toolbox.search.errors import DocumentRefused
from envfarm.toolbox.search.live.config import EVERYWHERE

_LONGEST = 2000  # characters of a url
_PORTS = (80, 443)


class NotPublic(OSError):
    """A name that leads to an address which is not the world's."""


class Hosts:
    """The hosts of an allow-list."""

    def __init__(self, allow: Sequence[str]) -> None:
        self._everywhere = EVERYWHERE in allow
        self._rules = [Rule.parse(text) for text in allow if text != EVERYWHERE]

    def permit(self, text: str) -> URL:
        """A url that may be asked for, in its one spelling and without its fragment. Raises DocumentRefused."""
        try:
            url = URL(text).with_fragment(None)
            port = url.port
        except ValueError:
            raise DocumentRefused("this is no url") from None
        if len(text) > _LONGEST or url.scheme not in ("http", "https") or url.user or url.password or not port:
            raise DocumentRefused("only http and https urls without a password can be opened")
        name = hostname(url.raw_host or "")
        if name is None:
            raise DocumentRefused("a url must have a host's name; addresses cannot be opened")
        if not any(rule.allows(name, port) for rule in self._rules) and not (self._everywhere and port in _PORTS):
            where = name if port in _PORTS else f"{name}:{port}"
            raise DocumentRefused(f"{where} is none of the hosts that can be opened; open another result")
        return url.with_host(name)


class PublicResolver(AbstractResolver):
    """Looks names up, and gives addresses of the world only. Raises NotPublic."""

    def __init__(self, hosts: Mapping[str, str], private: Sequence[Network]) -> None:
        self._hosts, self._private = hosts, private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._hosts.get(host, host), port, family=family, type=socket.SOCK_STREAM)
        addresses = [str(one[4][0]) for one in found]
        if not addresses or not all(public(address, self._private) for address in addresses):
            raise NotPublic(f"{host} has a private address")
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=one[0], proto=one[2], flags=socket.AI_NUMERICHOST
            )
            for one, address in zip(found, addresses, strict=True)
        ]

    async def close(self) -> None:
        """Nothing is held."""
