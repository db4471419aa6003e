"""Leaves a pod nothing of its network but the way to its proxy; where that cannot be done the pod fails.

It runs alone in a container with NET_ADMIN that ends before the sandbox begins: `python3 -c`, the standard library,
`ip` and iptables, no other module of ours. To undo it takes NET_ADMIN, which no sandbox has.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

# Both, for the pod's kernel is the node's or gVisor's: one may know only the newer way, the other knows only the older.
_FILTERS = ("nft", "legacy")
_RULES = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -i lo -j ACCEPT
-A OUTPUT -o lo -j ACCEPT
"""
_TO_PROXY = """-A INPUT -s {own} -d {own} -j ACCEPT
-A OUTPUT -s {own} -d {own} -j ACCEPT
-A INPUT -s {proxy} -p tcp --sport {port} -j ACCEPT
-A OUTPUT -d {proxy} -p tcp --dport {port} -j ACCEPT
"""
_ENV = {**os.environ, "XTABLES_LOCKFILE": "/dev/shm/xtables.lock"}  # the root file system is not to be written
_PATIENCE = 60.0  # seconds for the proxy to answer
_PAUSE, _TRY = 0.1, 3.0


class Uncut(Exception):
    """The network is not cut; the message says why."""


def main(proxy: str, port: str) -> None:
    """Cut the network of this pod but for one port of one address. Raises Uncut."""
    knock(proxy, int(port))
    way = json.loads(_run("ip", "-j", "-4", "route", "get", proxy))[0]
    device, own = way["dev"], way["prefsrc"]
    # The wall. Routes alone are none: a socket that is bound to a device takes what has no route for its neighbour.
    _filter("iptables", _RULES + _TO_PROXY.format(own=own, proxy=proxy, port=port))
    if Path("/proc/net/if_inet6").exists():
        _filter("ip6tables", _RULES)
    # With no route, what is behind the wall fails at once, and a second wall stands before it.
    _run("ip", "-4", "route", "flush", "table", "main")
    via = ["via", way["gateway"], "onlink"] if "gateway" in way else []
    _run("ip", "-4", "route", "add", f"{proxy}/32", *via, "dev", device)
    knock(proxy, int(port))


def knock(proxy: str, port: int) -> None:
    """Wait until the proxy takes a connection. Raises Uncut."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            socket.create_connection((proxy, port), _TRY).close()
            return
        except OSError as error:
            if time.monotonic() > until:
                raise Uncut(f"the egress proxy at {proxy}:{port} does not answer: {error}") from None
            time.sleep(_PAUSE)


def _filter(program: str, rules: str) -> None:
    """Have the kernel drop what the rules do not name."""
    said = []
    for kind in _FILTERS:
        try:
            _run(f"{program}-{kind}-restore", stdin=f"{rules}COMMIT\n")
            return
        except Uncut as error:
            said.append(str(error))
    raise Uncut("; ".join(said))


def _run(*command: str, stdin: str = "") -> str:
    try:
        done = subprocess.run(command, input=stdin, env=_ENV, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Uncut(f"{command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        raise Uncut(f"{' '.join(command)}: {' '.join(done.stderr.split()) or done.returncode}")
    return done.stdout


if __name__ == "__main__":
    try:
        main(*sys.argv[1:3])
    except Uncut as error:
        sys.exit(str(error))
