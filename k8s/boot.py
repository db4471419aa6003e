"""How a pod's main process gets its program: over the attached stream, so that no pod's spec carries it."""

from __future__ import annotations

from envfarm.toolbox.sandboxes import scripts

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
