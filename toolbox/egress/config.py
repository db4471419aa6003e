"""What the way out of a sandbox with an allowlist is told: its image, and what besides the world may be reached."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from pydantic import BaseModel, ConfigDict, Field


class EgressConfig(BaseModel):
    """The settings of the proxies that stand between sandboxes and the hosts of their task's list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field("envfarm/egress:1", description="image with `python3` that the proxy runs in")
    private: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="private networks in which a listed host may be; none: a name that leads there is refused"
    )
    hosts: dict[str, str] = Field({}, description="addresses of hosts that no name server knows")
