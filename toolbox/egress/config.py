"""What the way out of a sandbox with an allowlist is told: its image, and what besides the world may be reached."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from pydantic import BaseModel, ConfigDict, Field

from envfarm.toolbox.egress.proxy import PORT

_ITSELF = "localhost,127.0.0.1,::1"


class EgressConfig(BaseModel):
    """The settings of the proxies that stand between sandboxes and the hosts of their task's list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field(
        "envfarm/egress:1",
        description="image with `python3` that the proxy runs in; in a cluster with `ip` and `iptables` too",
    )
    private: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="private networks in which a listed host may be; none: a name that leads there is refused"
    )
    hosts: dict[str, str] = Field({}, description="addresses of hosts that no name server knows")


def environment(address: str) -> dict[str, str]:
    """What programs are told of the proxy at an address, in both spellings."""
    url = f"http://{address}:{PORT}"
    named = {"http_proxy": url, "https_proxy": url, "no_proxy": _ITSELF}
    return named | {key.upper(): value for key, value in named.items()}
