"""What can be reached from inside a sandbox: a policy that nobody enforces is no isolation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from envfarm.toolbox.sandboxes import scripts
from envfarm.toolbox.sandboxes.base import Sandbox

CLOSED = 9
"""A port that nothing listens on: to be refused there is to have got through."""
SELF = "itself"
_SECONDS = 4

# A refusal is an answer: whoever refuses was reached. Python tries harder than the others, each way at once: a socket
# that is bound to a device takes what no route leads to for a neighbour.
_PYTHON = f"""
import errno, os, select, socket, sys, time
place, said, until = (sys.argv[1], int(sys.argv[2])), "timed out", time.monotonic() + {_SECONDS}
waiting = {{}}
for device in ["", *(name for _, name in socket.if_nameindex() if name != "lo")]:
    wire = socket.socket()
    wire.setblocking(False)
    try:
        if device:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        code = wire.connect_ex(place)
        if code == errno.EINPROGRESS:
            waiting[wire.fileno()] = wire
            continue
    except OSError as error:
        code = error.errno
    said = os.strerror(code) if code else "connected"
    if code in (0, errno.ECONNREFUSED):
        waiting.clear()
        break
while waiting and time.monotonic() < until:
    _, ready, _ = select.select([], list(waiting), [], until - time.monotonic())
    for number in ready:
        code = waiting.pop(number).getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        said = os.strerror(code) if code else "connected"
        if code in (0, errno.ECONNREFUSED):
            waiting.clear()
            break
print(said)
"""
_PROBE = rf"""
newline='
'
probe() {{
  if command -v python3 >/dev/null 2>&1; then
    said=$(python3 -c {scripts.quote(_PYTHON)} "$2" "$3" 2>&1)
  elif command -v bash >/dev/null 2>&1; then
    said=$(timeout {_SECONDS} bash -c "exec 3<>/dev/tcp/$2/$3" 2>&1) && said=connected
  elif command -v nc >/dev/null 2>&1; then
    said=$(nc -w {_SECONDS} "$2" "$3" </dev/null 2>&1) && said=connected
  else
    said='no bash, python3 or nc to try with'
  fi
  said=${{said%%"$newline"*}}
  case $said in
    connected|*refused*) echo "$1 reached $said" ;;
    'no bash'*) echo "$1 unknown $said" ;;
    *) echo "$1 not ${{said##*: }}" ;;
  esac
}}
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether one thing is in reach."""

    name: str
    target: str  # host:port
    reached: bool | None  # None: the probe cannot tell
    detail: str
    wanted: bool = False  # it should be

    @property
    def ok(self) -> bool:
        """Whether it is as it should be; that the probe itself works is shown by what it must reach."""
        return self.reached is self.wanted


async def reach(
    sandbox: Sandbox, targets: Mapping[str, tuple[str, int]], *, wanted: Collection[str] = ()
) -> list[Finding]:
    """Try to reach each host and port, those in `wanted` with success, and first the sandbox itself.

    The image has python3, bash or nc. Raises SandboxError.
    """
    targets = {SELF: ("127.0.0.1", CLOSED), **targets}
    wanted = {SELF, *wanted}
    calls = [f"probe {name} {scripts.quote(host)} {port} &" for name, (host, port) in targets.items()]
    result = await sandbox.run("\n".join([_PROBE, *calls, "wait"]), timeout=2 * _SECONDS * (len(targets) + 2))
    answers = {}
    for line in result.stdout.decode("utf-8", "replace").splitlines():
        name, _, rest = line.partition(" ")
        answers[name] = rest.partition(" ")
    findings = []
    for name, (host, port) in targets.items():
        verdict, _, detail = answers.get(name, ("", "", "the probe said nothing"))
        reached = {"reached": True, "not": False}.get(verdict)
        findings.append(Finding(name, f"{host}:{port}", reached, detail or "no answer", name in wanted))
    if findings[0].reached is not True:  # who cannot reach itself proves nothing of the rest
        said = "the probe does not work in this image"
        return [Finding(one.name, one.target, None, said, one.wanted) for one in findings]
    return findings


def faulty(findings: list[Finding]) -> str:
    """What is not as it should be, in words; nothing where all is."""
    wrong = [one for one in findings if not one.ok]
    reached = ", ".join(f"{one.name} at {one.target} ({one.detail})" for one in wrong if not one.wanted)
    missed = ", ".join(f"{one.name} at {one.target} ({one.detail})" for one in wrong if one.wanted)
    parts = (f"could reach {reached}" if reached else "", f"could not reach {missed}" if missed else "")
    return " and ".join(part for part in parts if part)
