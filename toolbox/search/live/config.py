"""What the live retriever is told: a search API, which hosts' pages may be read, how hard both may be asked."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from envfarm.toolbox.egress.proxy import Rule

if TYPE_CHECKING:  # settings are read by commands that ask nobody
    from envfarm.toolbox.search.live.retriever import Live

EVERYWHERE = "*"
_PATH = r"^[^.\s]+(\.[^.\s]+)*$"


def _rule(text: str) -> str:
    if text != EVERYWHERE:
        Rule.parse(text)
    return text


def _template(url: str | None) -> str | None:
    if url is not None and (not re.match(r"https?://[^/\s]+", url) or url.count("{query}") != 1):
        raise ValueError("write https://HOST/PATH?q={query}, with {query} once where the words go")
    return url


class LiveConfig(BaseModel):
    """The settings of search in the real web; without a `name` there is none. Times are in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9-]{0,63}$",
        description="of the recording in `data`; tasks name it as their corpus, `live:NAME`; none: no web",
    )
    mode: Literal["record", "replay"] = Field(
        "record", description="`record` asks the web for what the recording has not; `replay` asks nobody"
    )
    url: Annotated[str | None, AfterValidator(_template)] = Field(
        None, description="search API, with `{query}` where the words go; its answer is JSON"
    )
    headers: dict[str, str] = Field({}, description="its headers, each with the variable that has the value")
    results: str = Field("results", pattern=_PATH, description="where in the answer the list is: keys, dots between")
    title: str = Field("title", pattern=_PATH, description="where in a result its title is")
    link: str = Field("url", pattern=_PATH, description="where in a result its url is")
    snippet: str = Field("content", pattern=_PATH, description="where in a result its text is")
    rate: float | None = Field(None, gt=0, description="searches a second; none: as many as come")
    max_searches: int | None = Field(
        None, ge=0, description="requests to the search API until the server's next start; none: no limit"
    )
    allow: tuple[Annotated[str, AfterValidator(_rule)], ...] = Field(
        (), description="hosts whose pages may be read: `example.org`, `*.example.org`, `example.org:8443`; `*`: all"
    )
    private: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="private networks in which a listed host may be; none: a name that leads there is refused"
    )
    hosts: dict[str, str] = Field({}, description="addresses of hosts that no name server knows")
    agent: str = Field(
        "envfarm",
        pattern=r"^[A-Za-z_-]+$",
        description="its name for hosts, and for their robots.txt",
    )
    host_rate: float = Field(1.0, gt=0, description="pages a second of one host; its robots.txt may ask for less")
    timeout: float = Field(20.0, gt=0, description="for a search, and for a page with its redirects and its turn")
    size: int = Field(2 << 20, ge=1024, description="bytes of a page or an answer; larger ones are refused")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.name is not None and self.mode == "record" and self.url is None:
            raise ValueError("a name without a url: set live.url too, or live.mode to replay")
        return self

    def open(self, data: Path) -> Live | None:
        """The retriever, None where none is set; `data` is the farm's folder. To be closed. Raises CorpusError."""
        if self.name is None:
            return None
        from envfarm.toolbox.search.live.fetch import Fetcher
        from envfarm.toolbox.search.live.record import Recording
        from envfarm.toolbox.search.live.retriever import Live
        from envfarm.toolbox.search.live.search_api import SearchApi

        recording = Recording(data / "live" / self.name, new=self.mode == "record")
        if self.mode == "replay":
            return Live(self, recording, None, None)
        return Live(self, recording, SearchApi(self), Fetcher(self))
