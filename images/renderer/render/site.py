"""The page's own address, https://app.test: files of a folder, or what its own server says."""

from __future__ import annotations

import asyncio
import http.client
import mimetypes
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urljoin, urlsplit

ORIGIN = "https://app.test"
SITE = Path("/srv/page/site")
EXIT = Path("/srv/page/exit")
LARGEST = 32 << 20  # bytes of one answer
STREAM = 1.0  # wall-clock seconds of a stream of events that are taken for all of it
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "host", "upgrade"}


@dataclass(slots=True)
class Reply:
    """One answer of the site."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)  # names in lower case

    def redirect(self, url: str) -> str | None:
        """Where the answer to `url` sends; None where it is one."""
        to = self.headers.get("location")
        return urljoin(url, to) if to is not None and self.status in (301, 302, 303, 307, 308) else None


class Site(Protocol):
    """Answers requests to https://app.test."""

    async def ask(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Reply:
        """One request. Raises OSError where nobody answers."""


class Folder:
    """A static site; an address of a folder is its index.html, and nothing outside is shown."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    async def ask(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Reply:
        try:
            place = (self.root / unquote(urlsplit(url).path).lstrip("/")).resolve()
            place = place / "index.html" if place.is_dir() else place
            inside = place.resolve().is_relative_to(self.root) and place.is_file()
        except (ValueError, OSError, RuntimeError):  # a NUL, a name too long, a loop of links
            inside = False
        if not inside or place.stat().st_size > LARGEST:
            return Reply(404, b"not found", {"content-type": "text/plain"})
        kind = "text/javascript" if place.suffix == ".mjs" else mimetypes.guess_type(place.name)[0]
        kind = kind or "application/octet-stream"
        return Reply(200, place.read_bytes(), {"content-type": f"{kind}; charset=utf-8" if "text" in kind else kind})


class Server:
    """The page's own process, on a port of this machine's loopback."""

    def __init__(self, port: int, seconds: float = 5.0) -> None:
        self.port = port
        self.seconds = seconds  # that one answer may take

    async def ask(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Reply:
        return await asyncio.to_thread(self._ask, method, url, headers, body)

    def _ask(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Reply:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.seconds)
        try:
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            sent = {key: value for key, value in headers.items() if key.lower() not in _HOP and key[0] != ":"}
            connection.request(method, target or "/", body, {**sent, "accept-encoding": "identity"})
            answer = connection.getresponse()
            kept = {key.lower(): value for key, value in answer.getheaders() if key.lower() not in _HOP}
            stream = kept.get("content-type", "").startswith("text/event-stream")
            return Reply(answer.status, self._body(connection, answer, STREAM if stream else self.seconds), kept)
        except http.client.HTTPException as error:
            raise OSError(f"not HTTP: {error!r}") from None
        finally:
            connection.close()

    def _body(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse, seconds: float) -> bytes:
        """What came in that time: page time stands meanwhile, so nothing may go on for ever."""
        until, body = time.monotonic() + seconds, bytearray()
        while (left := until - time.monotonic()) > 0 and len(body) < LARGEST:
            if connection.sock is not None:  # it is None once the whole answer is read
                connection.sock.settimeout(left)
            try:
                part = answer.read1(1 << 16)
            except TimeoutError:
                break
            if not part:
                break
            body += part
        return bytes(body)

    async def listening(self, seconds: float) -> str | None:
        """Wait until it listens; what is wrong where it does not."""
        for _ in range(max(1, int(seconds / 0.1))):
            if (code := _exit_code()) is not None:
                return f"the server ended with exit code {code}"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.1)
                continue
            writer.close()
            return None
        return f"nothing listened on port {self.port} within {seconds:g} seconds"


def _exit_code() -> str | None:
    """What the page's server ended with; None while it runs."""
    if not EXIT.is_file():
        return None
    with EXIT.open(errors="replace") as said:
        return said.read(20).strip()
