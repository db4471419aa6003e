"""The farm's own shell text, which the supervisor evaluates. A model's text stands in it only as quoted data."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Literal

from envfarm.toolbox.errors import BadRequest

Kind = Literal["bash", "sh"]
COMMAND_LIMIT = 16 << 20
"""Bytes of a command, at most; it passes through the memory of two shells in the sandbox."""
ARGUMENT_LIMIT = 100_000
"""Bytes of a command that still go as one argument; Linux allows 131,071 (MAX_ARG_STRLEN)."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_TOOLS = """
if setpriv --reuid=0 --regid=0 --clear-groups true 2>/dev/null; then echo setpriv
elif chroot --userspec=0:0 --skip-chdir / true 2>/dev/null; then echo chroot
else echo su; fi
"""
WHICH_TOOL = _TOOLS.strip()
"""Prints the tool with which this image can run a command as another user."""


@cache
def program(name: str) -> str:
    """One of the texts in `program/`, without its comments."""
    text = resources.files(__package__).joinpath("program", name).read_text()
    return "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#"))


@cache
def session_program(kind: Kind) -> str:
    """The loop of a session's shell; in bash on one line, so that its error messages count lines from 1."""
    if kind == "bash":
        return " ".join(program("session.bash").split("\n"))
    return program("session.sh")


def quote(text: str) -> str:
    """One shell word."""
    return "'" + text.replace("'", "'\\''") + "'"


def encode(text: str) -> bytes:
    """A command's bytes: UTF-8, surrogate escapes for bytes that are none. Raises BadRequest for NUL, or too many."""
    if "\0" in text:
        raise BadRequest("a command cannot hold a NUL byte")
    data = text.encode("utf-8", "surrogateescape")
    if len(data) > COMMAND_LIMIT:
        raise BadRequest(f"a command of {len(data)} bytes is longer than {COMMAND_LIMIT}: write it to a file first")
    return data


def exports(env: Mapping[str, str]) -> str:
    """`export` lines. Raises BadRequest for a name that no shell takes."""
    for name in env:
        if not _NAME.match(name):
            raise BadRequest(f"{name!r} is no name of an environment variable")
    return "".join(f"export {name}={quote(value)}\n" for name, value in env.items())


def shell(kind: Kind) -> str:
    """The shell that runs a model's text, ready for `-c`."""
    return "bash --norc --noprofile" if kind == "bash" else "sh"


def become(user: str | None, tool: str) -> str:
    """The prefix that runs a command as a user."""
    return "exec " if user is None else f"as {tool} {quote(user)} "


def one_shot(
    command: str,
    *,
    kind: Kind,
    prefix: str,
    cwd: str | None,
    env: Mapping[str, str],
    stdin: str | None,
) -> str:
    """A script that runs one command in a fresh shell; `stdin` is a spool's path."""
    lines = ["("]
    if stdin is not None:
        lines.append(f"exec 5<{quote(stdin)}; rm -f {quote(stdin)}")
    lines.append("exec 2>&9 9>&-")
    lines.append("restore")
    if cwd is not None:
        lines.append(f"cd -- {quote(cwd)} || exit 1")
    lines.append(exports(env).rstrip())
    source = "</dev/null" if stdin is None else "0<&5 5<&-"
    size = len(encode(command))
    if size <= ARGUMENT_LIMIT:
        lines.append(f"{prefix}{shell(kind)} -c {quote(command)} {source}")
    else:
        fetch = f"LC_ALL=C read -r -N {size} c <&3" if kind == "bash" else "c=$(cat <&3; echo x); c=${c%x}"
        inner = quote(f'{fetch}; exec 3<&-; eval "$c"')
        outer = "4<&5 5<&-" if stdin is not None else "4</dev/null"
        lines.append(
            "{ " + f"printf %s {quote(command)} | ( {prefix}{shell(kind)} -c {inner} 3<&0 0<&4 4<&- )" + f"; }} {outer}"
        )
    lines.append(")")
    return "\n".join(line for line in lines if line)


def open_session(
    token: str,
    *,
    kind: Kind,
    prefix: str,
    cwd: str | None,
    env: Mapping[str, str],
    restore: bool,
) -> str:
    """A script that becomes a session's shell; with `restore` it takes up the state that the one before it left."""
    prelude = "unset ENVFARM; "
    if restore:
        prelude += ". /proc/self/fd/8 2>/dev/null; "
    text = prelude + session_program(kind).replace("@TOKEN@", token)
    lines = ["(", "exec 2>&9 9>&-", "restore", exports(env).rstrip()]
    if cwd is not None:
        lines.append(f"cd -- {quote(cwd)} 2>/dev/null || cd /")
    lines.append(f"ENVFARM={quote(text)}")
    lines.append("export ENVFARM")
    lines.append(f"{prefix}{shell(kind)} -c 'eval \"$ENVFARM\"' 9>&2 2>/dev/null 0<&7 7<&-")
    lines.append(")")
    return "\n".join(line for line in lines if line)


def session_command(command: bytes, token: str, kind: Kind) -> bytes:
    """What goes through a session's pipe: a header, the command, and the token that ends it."""
    if kind == "bash":
        return f"{token} {len(command)}".ljust(40).encode() + command + token.encode()
    command += b"\n"
    lines = command.count(b"\n")
    return f"{token}\n{len(command)}\n{lines}\n".encode() + command + f"{token}\n".encode()


def absolute(path: str, workdir: str) -> str:
    """A path from the sandbox's working directory on. Raises BadRequest for NUL and the empty path."""
    if not path or "\0" in path:
        raise BadRequest(f"{path!r} is no path")
    return os.path.join(workdir, path)
