"""How a pod's main process gets its program: over the attached stream, so that no pod's spec carries it."""

from __future__ import annotations

from envfarm.toolbox.sandboxes import scripts

ADDRESS = "ENVFARM_EGRESS"
"""The variable with the address of a sandbox's proxy, from which those that programs look for are made."""
_BASH = 'IFS= read -r n; LC_ALL=C read -r -N "$n" ENVFARM; eval "$ENVFARM"'
_SH = 'IFS= read -r n; ENVFARM=$(dd bs=65536 count="$n" iflag=fullblock,count_bytes 2>/dev/null); eval "$ENVFARM"'
# bash reads so many bytes at once and forks nothing; no other shell can, and `dd` takes not one byte too many.
_MAIN = f'if command -v bash >/dev/null 2>&1; then exec bash --norc --noprofile -c \'{_BASH}\' "$0" "$1"; fi; {_SH}'


def command(hello: str) -> list[str]:
    """The command of the container: a shell that waits for `program()` and greets with `hello`."""
    return ["/bin/sh", "-c", _MAIN, "envfarm", hello]


def program() -> bytes:
    """The first bytes for a new main process's standard input: the supervisor and, before it, its length."""
    text = scripts.program("supervisor.sh").encode("ascii")  # one byte a character, in whatever locale the image sets
    return b"%d\n" % len(text) + text


def discreet(command: list[str]) -> list[str]:
    """A shell's command without what Kubernetes, and the farm, tell every container in its environment."""
    shell, flag, text, *rest = command
    names = ["PORT", "SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTPS", "PORT_443_TCP"]
    names += [f"PORT_443_TCP_{part}" for part in ("ADDR", "PORT", "PROTO")]
    hidden = [*(f"KUBERNETES_{name}" for name in names), ADDRESS]
    return [shell, flag, f"unset {' '.join(hidden)}; {text}", *rest]


def literal(text: str) -> str:
    """Text that Kubernetes takes as it stands: it would put variables in place of `$(NAME)`."""
    return text.replace("$", "$$")
