"""The egress proxy: through it a sandbox reaches the hosts of its task's allowlist, and nothing else.

Each such sandbox has one of its own, in a container beside it, where this file runs alone: `python3 -c`, the standard
library, no other module of ours. Whoever speaks to it is hostile.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import socket
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

PORT = 3128
READY = b"ready\n"
"""What the program prints once it listens."""
_PORTS = (80, 443)  # of a host that is listed without one
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")
_NUMBER = re.compile(r"(?:\d+|0x[0-9a-f]*)\Z")  # a name that ends so is an IPv4 address in one of its spellings
_AUTHORITY = re.compile(r"([^:@/\[\]\s]+)(?::(\d{1,5}))?\Z")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*\Z")
_REQUEST = re.compile(rb"([A-Z]{3,16}) ([\x21-\x7e]+) HTTP/1\.[01]\Z")
_HOP = {b"connection", b"host", b"keep-alive", b"te", b"trailer", b"upgrade", b"expect", b"http2-settings"}
_HEAD, _HELLO, _CHUNK = 64 << 10, 32 << 10, 64 << 10
_PATIENCE = 30.0  # seconds for a request's head, a TLS greeting, a name's resolution and a connection, each
_CLIENTS = 256
# Public by their numbers, and yet no host of the world: Azure's host agent, and IPv4 addresses dressed as IPv6 (NAT64,
# 6to4, Teredo), whose inner address a gateway may unwrap.
_DRESSED = ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")
_NEVER = [ipaddress.ip_network(text) for text in ("168.63.129.16/32", *_DRESSED)]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Refused(Exception):
    """A request that is not let through; `status` is the answer's, the text is one line."""

    def __init__(self, status: str, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of an allowlist: `example.org`, `*.example.org` (what is below it), `example.org:8443`."""

    name: str
    below: bool = False
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Rule:
        """An entry as task files write it. Raises ValueError, with the fix."""
        match = _AUTHORITY.match(text.removeprefix("*."))
        name = hostname(match[1]) if match else None
        if match is None or name is None:
            raise ValueError(f"{text!r} is no host's name: write example.org, *.example.org or example.org:8443")
        port = int(match[2]) if match[2] else None
        if port is not None and not 0 < port < 65536:
            raise ValueError(f"{text!r}: write a port from 1 to 65535, or none")
        return cls(name, text.startswith("*."), port)

    def allows(self, name: str, port: int) -> bool:
        """Whether a host may be reached at a port."""
        named = name.endswith(f".{self.name}") if self.below else name == self.name
        return named and (port == self.port if self.port is not None else port in _PORTS)


def hostname(text: str) -> str | None:
    """A host's name in its one spelling; None for an address, and for what is no name."""
    name = text.lower().removesuffix(".")
    if len(name) > 253 or not _NAME.match(name) or _NUMBER.match(name.rpartition(".")[2]):
        return None
    return name


def public(text: str, private: Sequence[Network] = ()) -> bool:
    """Whether an address is one of the world's, or of the networks that the operator opened."""
    address = ipaddress.ip_address(text.partition("%")[0])
    inner = getattr(address, "ipv4_mapped", None)
    if inner is not None:
        address = inner
    if any(address in network for network in private):
        return True
    strange = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_link_local
    return address.is_global and not strange and not any(address in network for network in _NEVER)


@dataclass(frozen=True, slots=True)
class Request:
    """A request's head: its method, where it goes, and the headers that go on to the host."""

    method: bytes
    name: str
    port: int
    path: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    length: int = 0  # bytes of its body

    @classmethod
    def parse(cls, head: bytes) -> Request:
        """Read a head strictly: what two servers could read in two ways is refused. Raises Refused."""
        first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        start, found = _REQUEST.match(first), [_HEADER.match(line) for line in lines]
        if start is None or not all(found):
            raise Refused("400 Bad Request", "not a proxy's request")
        headers = tuple((match[1].lower(), match[2]) for match in found if match)
        target = start[2].decode("ascii")
        if start[1] == b"CONNECT":
            return cls(b"CONNECT", *_authority(target, None))
        try:
            parts = urlsplit(target)
        except ValueError:
            raise Refused("400 Bad Request", "not a URL") from None
        if parts.scheme != "http":
            raise Refused("400 Bad Request", "write http://HOST/PATH, or CONNECT")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        name, port = _authority(parts.netloc, 80)
        return cls(start[1], name, port, path.encode("ascii"), headers, _length(headers))

    def origin(self) -> bytes:
        """The head as the host gets it: its own name and no other, and the connection ends with the answer."""
        where = self.name if self.port == 80 else f"{self.name}:{self.port}"
        listed = b",".join(value for key, value in self.headers if key == b"connection").lower()
        dropped = _HOP | {word.strip() for word in listed.split(b",")} - {b"content-length"}  # which says where it ends
        kept = [
            b"%s: %s" % (key, value)
            for key, value in self.headers
            if key not in dropped and not key.startswith(b"proxy-")
        ]
        first = [b"%s %s HTTP/1.1" % (self.method, self.path), b"host: %s" % where.encode()]
        return b"\r\n".join([*first, *kept, b"connection: close", b"", b""])


def _authority(text: str, port: int | None) -> tuple[str, int]:
    match = _AUTHORITY.match(text)
    name = hostname(match[1]) if match else None
    number = int(match[2]) if match and match[2] else port
    if name is None or number is None:
        raise Refused("403 Forbidden", "hosts are named here, not numbered")
    return name, number


def _length(headers: Sequence[tuple[bytes, bytes]]) -> int:
    """Bytes of a body; one of unknown length, or of two lengths, could hide a second request."""
    if any(key == b"transfer-encoding" for key, _ in headers):
        raise Refused("411 Length Required", "send the body with a Content-Length")
    lengths = [value for key, value in headers if key == b"content-length"]
    if len(lengths) > 1 or not all(re.fullmatch(rb"\d{1,15}", value) for value in lengths):
        raise Refused("400 Bad Request", "Content-Length")
    return int(lengths[0]) if lengths else 0


class Proxy:
    """Serves one sandbox."""

    def __init__(self, rules: Sequence[Rule], private: Sequence[Network] = ()) -> None:
        self._rules = rules
        self._private = private
        self._clients = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which carries one request."""
        self._clients += 1
        try:
            if self._clients > _CLIENTS:
                raise Refused("503 Service Unavailable", "too many connections")
            async with asyncio.timeout(_PATIENCE):
                request = Request.parse(await reader.readuntil(b"\r\n\r\n"))
            await self._pass(request, reader, writer)
        except Refused as refused:
            body = f"envfarm: {refused}\n".encode()
            head = f"HTTP/1.1 {refused.status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            writer.write(head.encode() + body)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # whose end it was does not matter: the connection carries nothing else
        finally:
            self._clients -= 1
            writer.close()

    async def _pass(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not any(rule.allows(request.name, request.port) for rule in self._rules):
            raise Refused("403 Forbidden", f"{request.name}:{request.port} is not on the task's list of allowed hosts")
        host, sink = await self._connect(request.name, request.port)
        try:
            if request.method == b"CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                async with asyncio.timeout(_PATIENCE):
                    greeting, named = await client_hello(reader)
                if named is None or hostname(named) != request.name:
                    return  # no TLS, or TLS for another host that the same machine may serve
                sink.write(greeting)
                up = asyncio.create_task(_pipe(reader, sink))
            else:
                sink.write(request.origin())
                up = asyncio.create_task(_pipe(reader, sink, request.length))
            try:
                await _pipe(host, writer)
            finally:
                up.cancel()
                await asyncio.gather(up, return_exceptions=True)
        finally:
            sink.close()

    async def _connect(self, name: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Resolve once, and connect to what was looked at: a second look could find another address."""
        try:
            async with asyncio.timeout(_PATIENCE):
                loop = asyncio.get_running_loop()
                found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
                addresses = [str(one[4][0]) for one in found]
                if not all(public(address, self._private) for address in addresses):
                    raise Refused("403 Forbidden", f"{name} has a private address")
                for address in addresses[:-1]:
                    try:
                        return await asyncio.open_connection(address, port, limit=_CHUNK)
                    except OSError:
                        continue
                return await asyncio.open_connection(addresses[-1], port, limit=_CHUNK)
        except (OSError, TimeoutError, UnicodeError) as error:
            raise Refused("502 Bad Gateway", f"{name}:{port} does not answer: {type(error).__name__}") from None


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None = None) -> None:
    """Carry bytes to their end, or so many of them and not one more."""
    while left is None or left > 0:
        data = await reader.read(_CHUNK if left is None else min(_CHUNK, left))
        if not data:
            break
        left = None if left is None else left - len(data)
        writer.write(data)
        await writer.drain()
    if left is None and writer.can_write_eof():
        writer.write_eof()


async def client_hello(reader: asyncio.StreamReader) -> tuple[bytes, str | None]:
    """The bytes that begin a TLS connection, and the host that they name: None where they name none.

    OpenSSL reads them, as a server that turns everybody away once it has heard the name.
    """
    names: list[str | None] = []

    def hear(_tls: object, name: str | None, _context: object) -> int:
        names.append(name)
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = hear
    incoming, seen = ssl.MemoryBIO(), b""
    tls = context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
    while len(seen) < _HELLO and not names and (data := await reader.read(_HELLO - len(seen))):
        seen += data
        incoming.write(data)
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError:
            break
    return seen, names[0] if names else None


async def main(address: str, hosts: str, private: str) -> None:
    """Listen at an address, for good; `hosts` and `private` are JSON lists of rules and of networks."""
    rules = [Rule.parse(text) for text in json.loads(hosts)]
    proxy = Proxy(rules, [ipaddress.ip_network(text) for text in json.loads(private)])
    server = await asyncio.start_server(proxy.serve, address, PORT, limit=_HEAD)
    sys.stdout.buffer.write(READY)
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
