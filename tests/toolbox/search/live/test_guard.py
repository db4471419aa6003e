"""What may be opened: hosts of the list, by their names, and none that leads to a private network."""

from __future__ import annotations

import pytest

from envfarm.toolbox.search.errors import DocumentRefused
from envfarm.toolbox.search.live.guard import Hosts, NotPublic, PublicResolver

HOSTS = Hosts(["example.org", "*.wide.test", "deep.test:8443"])


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://example.org/a?b=c#d", "https://example.org/a?b=c"),
        ("http://EXAMPLE.org./", "http://example.org/"),
        ("https://a.wide.test/", "https://a.wide.test/"),
        ("https://deep.test:8443/x", "https://deep.test:8443/x"),
    ],
)
def test_a_listed_host_in_one_spelling(url: str, same: str) -> None:
    assert str(HOSTS.permit(url)) == same


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/",
        "https://example.org.evil.test/",
        "https://wide.test/",
        "https://example.org:8443/",
        "https://deep.test/",
        "https://example.org@evil.test/",
        "https://user:word@example.org/",
        "https://evil.test\\@example.org/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://[::1]/",
        "http://localhost/",
        "http://169.254.169.254/latest",
        "http://example.org:99999/",
        "https://example.org/" + "a" * 3000,
        "http://",
    ],
)
def test_nothing_else(url: str) -> None:
    with pytest.raises(DocumentRefused):
        HOSTS.permit(url)


def test_all_hosts_are_still_no_addresses_and_no_strange_ports() -> None:
    everywhere = Hosts(["*"])
    assert everywhere.permit("https://anything.example/x").host == "anything.example"
    for url in ("http://10.0.0.1/", "http://anything.example:6379/"):
        with pytest.raises(DocumentRefused):
            everywhere.permit(url)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::1", "::ffff:127.0.0.1", "0.0.0.0", "64:ff9b::7f00:1"],
)
async def test_a_name_that_leads_inside_is_refused(address: str) -> None:
    with pytest.raises(NotPublic):
        await PublicResolver({"a.test": address}, ()).resolve("a.test", 80)


async def test_a_name_leads_to_the_addresses_that_were_looked_at() -> None:
    [found] = await PublicResolver({"a.test": "93.184.216.34"}, ()).resolve("a.test", 443)
    assert (found["host"], found["port"], found["hostname"]) == ("93.184.216.34", 443, "a.test")
