"""What the proxy lets through: names, addresses, requests. tests/toolbox/sandboxes/test_egress.py runs it."""

from __future__ import annotations

import ipaddress

import pytest

from envfarm.toolbox.egress.proxy import Refused, Request, Rule, public


@pytest.mark.parametrize(
    ("rule", "allowed", "refused"),
    [
        ("example.org", [("example.org", 80), ("example.org", 443)], [("example.org", 22), ("a.example.org", 443)]),
        (
            "*.Example.org.",
            [("a.example.org", 443), ("a.b.example.org", 80)],
            [("example.org", 443), ("aexample.org", 443)],
        ),
        ("example.org:8443", [("example.org", 8443)], [("example.org", 443)]),
    ],
)
def test_a_rule_allows_what_it_says(rule: str, allowed: list[tuple[str, int]], refused: list[tuple[str, int]]) -> None:
    parsed = Rule.parse(rule)
    assert all(parsed.allows(*one) for one in allowed)
    assert not any(parsed.allows(*one) for one in refused)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "*.",
        "a*.org",
        "10.0.0.1",
        "0x7f.1",
        "2130706433",
        "[::1]",
        "::1",
        "a b",
        "https://a.org",
        "a@b.org",
        "a.org:0",
        "a.org:99999",
        "-a.org",
        "a..org",
        "a/b",
    ],
)
def test_what_is_no_hosts_name_is_no_rule(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        Rule.parse(text)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.17.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "198.18.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
        "fd00:ec2::254",
        "fe80::1%eth0",
    ],
)
def test_an_address_that_is_not_the_worlds(address: str) -> None:
    assert not public(address)


def test_an_address_of_the_world_or_of_what_the_operator_opened() -> None:
    assert public("1.1.1.1")
    assert public("2606:4700::1111")
    assert public("10.1.2.3", [ipaddress.ip_network("10.1.0.0/16")])
    assert not public("10.2.2.3", [ipaddress.ip_network("10.1.0.0/16")])


def test_a_request_goes_on_under_the_hosts_own_name() -> None:
    head = (
        b"POST http://Example.org:8080/a?b=c HTTP/1.1\r\nHost: evil.test\r\nX-Own: 1\r\nProxy-Authorization: x\r\n"
        b"Connection: x-hop\r\nX-Hop: 2\r\nContent-Length: 3\r\n\r\n"
    )
    request = Request.parse(head)
    assert (request.name, request.port, request.length) == ("example.org", 8080, 3)
    assert request.origin() == (
        b"POST /a?b=c HTTP/1.1\r\nhost: example.org:8080\r\nx-own: 1\r\ncontent-length: 3\r\nconnection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: example.org", "400"),
        (b"GET https://example.org/ HTTP/1.1", "400"),
        (b"GET http://10.0.0.1/ HTTP/1.1", "403"),
        (b"GET http://[::1]/ HTTP/1.1", "403"),
        (b"GET http://user@example.org/ HTTP/1.1", "403"),
        (b"CONNECT 169.254.169.254:443 HTTP/1.1", "403"),
        (b"CONNECT 0xa9fea9fe:443 HTTP/1.1", "403"),
        (b"CONNECT example.org HTTP/1.1", "403"),
        (b"GET http://example.org/ HTTP/1.1\r\nTransfer-Encoding: chunked", "411"),
        (b"GET http://example.org/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2", "400"),
        (b"GET http://example.org/ HTTP/1.1\r\nContent-Length: +1", "400"),
        (b"GET http://example.org/ HTTP/1.1\r\nContent-Length : 1", "400"),
        (b"GET http://example.org/ HTTP/1.1\r\nA: b\nTransfer-Encoding: chunked", "400"),
        (b"GET http://example.org/ HTTP/1.1\r\nA: b\rc", "400"),
        (b"GET http://example.org/ HTTP/1.1\r\nA: b\r\n c", "400"),
        (b"GET http://example.org/ HTTP/1.1\r\nA: \x00", "400"),
        (b"GET http://example.org/ HTTP/9.1", "400"),
        (b"GET http://example.org/ x HTTP/1.1", "400"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(head: bytes, status: str) -> None:
    with pytest.raises(Refused) as caught:
        Request.parse(head + b"\r\n\r\n")
    assert caught.value.status.startswith(status)
