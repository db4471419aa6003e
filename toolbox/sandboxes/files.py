"""Files over a held shell: in as text or through a spool, out as plain bytes that are counted at both ends."""

from __future__ import annotations

import os
import re

from envfarm.toolbox.errors import FileProblem, SandboxError
from envfarm.toolbox.sandboxes.base import ExecResult
from envfarm.toolbox.sandboxes.scripts import quote
from envfarm.toolbox.sandboxes.shell import ANSWER, Shell

INLINE = 32 << 10
"""Bytes of a file that go as text of the script itself, which saves four processes."""
TIMEOUT = 600.0

_MISSING, _DIRECTORY, _SPECIAL = 65, 66, 67
_COPIED = re.compile(rb"^(\d+) bytes", re.MULTILINE)
_REASONS = (
    (b"No space left", "space"),
    (b"Disk quota exceeded", "space"),
    (b"No such file", "missing"),
    (b"Is a directory", "directory"),
    (b"Permission denied", "denied"),
    (b"Read-only file system", "denied"),
    (b"Operation not permitted", "denied"),
)


async def spool(shell: Shell, data: bytes) -> str:
    """Put bytes into a new file of a random name and return its path. Raises FileProblem when there is no room."""
    token = shell.token()
    answer = shell.expect(token)
    assert shell.wire is not None
    shell.send("spool", token, slot=len(data))
    for start in range(0, len(data), 1 << 18):
        shell.wire.write(data[start : start + (1 << 18)])
        await shell.wire.drain()
    shell.wire.write(b"\n" + token.encode() + b"\n")
    _, rest = await shell.answered(token, answer, ANSWER + len(data) / 1e5)
    code, _, path = rest.partition(b":")
    if code != b"0":
        await shell.script(f"rm -f {quote(path.decode())}", timeout=ANSWER)
        raise FileProblem("no space is left in the sandbox for the bytes to put there", reason="space")
    return path.decode()


async def read(shell: Shell, path: str) -> bytes:
    """A regular file's bytes. Raises FileProblem."""
    name = quote(path)
    guard = f"if [ -d {name} ]; then status {_DIRECTORY}; elif [ ! -e {name} ]; then status {_MISSING}; elif [ ! -f {name} ]; then status {_SPECIAL}; else "
    result = await _script(shell, f"{guard}dd if={name} bs=65536; fi")
    _check(result, path, "read")
    if _counted(result):
        return result.stdout
    return await _framed(shell, f"cat {name}", path)


async def write(shell: Shell, path: str, data: bytes, *, mode: int | None, prefix: str) -> None:
    """Write a file in place. Raises FileProblem."""
    name, parent = quote(path), quote(os.path.dirname(path))
    lines = [f"[ -d {parent} ] || mkdir -p -- {parent}"]
    if len(data) <= INLINE and b"\0" not in data:
        text = quote(data.decode("utf-8", "surrogateescape"))
        lines.append(f"[ ! -d {name} ] && printf %s {text} >{name}")
    else:
        place = quote(await spool(shell, data))
        lines = [f"exec 205<{place}; rm -f {place}", *lines, f"cat <&205 >{name}"]
    if mode is not None:
        lines.append(f"chmod {mode:04o} {name}")
    special = f"[ -e {name} ] && [ ! -f {name} ] && [ ! -d {name} ]"
    body = f"exec 2>&203; if {special}; then exit {_SPECIAL}; fi; " + " && ".join(f"{{ {line}; }}" for line in lines)
    if prefix:
        body = f"{prefix}sh -c {quote(body.replace('exec 2>&203; ', ''))}"
    _check(await _script(shell, f"( {body} )"), path, "write")


async def put_tree(shell: Shell, tar: bytes, path: str) -> None:
    """Unpack a tar with its modes and numeric owners. Raises FileProblem."""
    place, name = quote(await spool(shell, tar)), quote(path)
    result = await _script(
        shell,
        f"( exec 2>&203; exec 205<{place}; rm -f {place}; mkdir -p -- {name} && "
        f"tar --numeric-owner -xpf - -C {name} <&205 )",
    )
    _check(result, path, "unpack into")


async def get_tree(shell: Shell, path: str) -> bytes:
    """A tar of a directory's contents. Raises FileProblem."""
    name = quote(path)
    guard = f"if [ ! -e {name} ]; then status {_MISSING}; elif [ ! -d {name} ]; then status {_SPECIAL}; else "
    pack = f"tar -cf - -C {name} ."
    result = await _script(shell, f"exec 2>&203; {guard}{{ {pack} || echo ef-tar-failed >&2; }} | dd bs=65536; fi")
    _check(result, path, "pack")
    if b"ef-tar-failed" in result.stderr:
        raise FileProblem(f"{path} could not be packed: {_last(result.stderr)}", reason="other")
    if _counted(result):
        return result.stdout
    return await _framed(shell, pack, path)


async def _script(shell: Shell, text: str) -> ExecResult:
    result = await shell.script(
        f"exec 2>&203\n{text}" if not text.startswith("exec") else text, timeout=TIMEOUT, limit=None
    )
    if result.timed_out:
        raise SandboxError(f"a file operation took longer than {TIMEOUT:g} s")
    return result


async def _framed(shell: Shell, source: str, path: str) -> bytes:
    """The same as base64 in lines that background output cannot be mistaken for."""
    nonce = shell.token()
    result = await _script(shell, f"{source} | base64 | while IFS= read -r l; do printf '%s%s\\n' {nonce} \"$l\"; done")
    _check(result, path, "read")
    import base64

    marks = re.findall(rb"%s([A-Za-z0-9+/=]*)\n" % nonce.encode(), result.stdout)
    return base64.b64decode(b"".join(marks))


def _counted(result: ExecResult) -> bool:
    """Whether the output is as long as `dd` says that it wrote, so that nothing else wrote between."""
    found = _COPIED.findall(result.stderr)
    return bool(found) and int(found[-1]) == len(result.stdout)


def _check(result: ExecResult, path: str, verb: str) -> None:
    code = result.exit_code
    if code == 0:
        return
    if code == _MISSING:
        raise FileProblem(f"{path}: no such file or directory", reason="missing")
    if code == _DIRECTORY:
        raise FileProblem(f"{path} is a directory", reason="directory")
    if code == _SPECIAL:
        raise FileProblem(f"{path} is not a regular file or a directory", reason="other")
    reason = next((reason for text, reason in _REASONS if text in result.stderr), "other")
    raise FileProblem(f"cannot {verb} {path}: {_last(result.stderr)}", reason=reason)


def _last(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "unknown error"
