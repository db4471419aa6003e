"""Files over a held shell: in as text or through a spool, out as plain bytes that are counted at both ends."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import re
import tarfile
from collections.abc import Sequence
from dataclasses import replace

from envfarm.toolbox.errors import FileProblem, SandboxSilent
from envfarm.toolbox.sandboxes.base import ExecResult
from envfarm.toolbox.sandboxes.scripts import quote
from envfarm.toolbox.sandboxes.shell import Shell
from envfarm.toolbox.sandboxes.supervisor import ANSWER

INLINE = 32 << 10
"""Bytes of a file that go as text of the script itself, which saves four processes."""
READ_LIMIT = 1 << 30
"""Bytes that are read of one file, or packed of one tree, when the caller sets no limit."""
TIMEOUT = 600.0

_GLOB = re.compile(r"([*?[\\])")
_BLOCK, _CHUNK, _SLACK = 1 << 16, 1 << 18, 1 << 20
_PART = 16 << 20  # the supervisor takes no longer frame
_MISSED, _TRIES = b"75", 3
_TAR = "envfarm-tar-ended "
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
    tries = _TRIES
    while tries:
        outages = shell.outages
        code, path = await _send_parts(shell, data)
        if code == b"0":
            return path
        if path:
            shell.litter.append(path)
        if code != _MISSED:
            raise FileProblem("no space is left in the sandbox for the bytes to put there", reason="space")
        tries -= outages == shell.outages  # a stream that broke is nobody's try
    shell.fail(SandboxSilent("what the farm sends does not reach the sandbox's main process"))
    raise shell.lost


async def _send_parts(shell: Shell, data: bytes) -> tuple[bytes, str]:
    """Send a file's bytes part by part, up to one that does not arrive; returns how the last one went and the path."""
    code, path = b"", ""
    for start in range(0, len(data) or 1, _PART):
        code, place = await _send_part(shell, data[start : start + _PART], start > 0)
        path = place or path
        if code != b"0":
            break
    return code, path


async def _send_part(shell: Shell, data: bytes, more: bool) -> tuple[bytes, str]:
    token = shell.token()
    answer = shell.expect(token)
    wire = shell.wire
    assert wire is not None
    head = shell.head("spool", token, len(data), ident="a" if more else "-")
    frame = head + data + f"\n{token}\n".encode()
    shell.in_pieces = True
    chunks = [frame[start : start + _CHUNK] for start in range(0, len(frame), _CHUNK)]
    try:
        while chunks and shell.wire is wire:  # what belongs to a stream that broke does not go on in the next
            shell.send(chunks.pop(0))
            await wire.drain()
        again = shell.frame("missed", token)
        _, rest = await shell.answered(token, answer, ANSWER + len(data) / 1e5, again=again)
    except asyncio.CancelledError:
        wire.write(b"".join(chunks))  # the frame goes whole all the same
        shell.abandon_spool(token, answer)
        raise
    finally:
        shell.in_pieces = False
    code, _, path = rest.partition(b":")
    return code, path.decode()


async def read(shell: Shell, path: str, limit: int | None = None) -> bytes:
    """A regular file's bytes. Raises FileProblem."""
    name = quote(path)
    limit = READ_LIMIT if limit is None else limit
    pack = f"dd if={name} bs={_BLOCK} count={limit // _BLOCK + 1}"
    guard = f"if [ -d {name} ]; then status {_DIRECTORY}; elif [ ! -e {name} ]; then status {_MISSING}; "
    guard += f"elif [ ! -f {name} ]; then status {_SPECIAL}; else "
    size = f"; stat -L -c '%s bytes' {name} >&2" if shell.kind == "sh" else ""  # a small dd does not count
    result = await _script(shell, f"{guard}{pack}{size}; fi", limit, reads=True)
    _check(result, path, "read")
    data = result.stdout if _counted(result) else await _framed(shell, pack, path, limit)
    return _within(data, limit, path)


async def write(shell: Shell, path: str, data: bytes, *, mode: int | None, prefix: str) -> None:
    """Write a file in place. Raises FileProblem."""
    name, parent = quote(path), quote(os.path.dirname(path))
    guard = f"if [ -d {name} ]; then exit {_DIRECTORY}; elif [ -e {name} ] && [ ! -f {name} ]; then exit {_SPECIAL}; fi"
    make = f"{{ [ -d {parent} ] || mkdir -p -- {parent}; }}"
    after = "" if mode is None else f" && chmod {mode:04o} {name}"

    async def attempt(first: str, fill: str) -> ExecResult:
        body = f"{guard}; {make} && {fill} >{name}{after}"
        return await _script(shell, f"( {first}{prefix}sh -c {quote(body)} )" if prefix else f"( {first}{body} )")

    result = None
    if len(data) <= INLINE and b"\0" not in data:
        result = await attempt("", f"printf %s {quote(data.decode('utf-8', 'surrogateescape'))}")
    if result is None or _reason(result) == "other":  # not every shell's printf says why it fails
        place = quote(await spool(shell, data))
        result = await attempt(f"exec 8<{place}; rm -f {place}; ", "cat <&8")
    _check(result, path, "write")


async def put_tree(shell: Shell, tar: bytes, path: str) -> None:
    """Unpack a tar with its modes and numeric owners. Raises FileProblem."""
    place, name = quote(await spool(shell, tar)), quote(path)
    result = await _script(
        shell,
        f"( exec 2>&9; exec 8<{place}; rm -f {place}; mkdir -p -- {name} && tar --numeric-owner -xpf - -C {name} <&8 )",
    )
    _check(result, path, "unpack into")


async def get_tree(shell: Shell, path: str, *, exclude: Sequence[str] = (), limit: int | None = None) -> bytes:
    """A tar of a directory's contents. Raises FileProblem."""
    most = READ_LIMIT if limit is None else limit
    try:
        leave = "".join(" --exclude=" + quote(_GLOB.sub(r"\\\1", one)) for one in exclude)
        return await _packed(shell, path, leave, most)
    except FileProblem as problem:
        if "unrecognized option '--exclude" not in str(problem):
            raise
    return _pruned(await _packed(shell, path, "", most), set(exclude))


async def _packed(shell: Shell, path: str, options: str, limit: int) -> bytes:
    name = quote(path)
    stop = f" | head -c {limit + 1}"
    pack = f'{{ tar -cf - -C {name}{options} .; echo "{_TAR}$?" >&2; }}{stop}'
    guard = f"if [ ! -e {name} ]; then status {_MISSING}; elif [ ! -d {name} ]; then status {_SPECIAL}; else "
    result = await _script(shell, f"{guard}{pack} | dd bs={_BLOCK}; fi", limit, reads=True)
    _check(result, path, "pack")
    code = re.search(rb"%s(\d+)" % _TAR.encode(), result.stderr)
    if not result.stdout:
        why = next((line for line in result.stderr.decode("utf-8", "replace").splitlines() if "tar:" in line), "no tar")
        raise FileProblem(f"{path} could not be packed: {why}", reason="other")
    data = result.stdout if _counted(result) else await _framed(shell, pack, path, limit)
    _within(data, limit, path)
    if code is None or int(code[1]) > 1:  # 1: something changed or cannot stand in a tar, such as a socket
        raise FileProblem(f"{path} could not be packed: {_last(result.stderr)}", reason="other")
    return data


def _pruned(data: bytes, names: set[str]) -> bytes:
    """A tar without the entries of some names and all below them, for a `tar` that cannot leave them out itself."""
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive,
        tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as kept,
    ):
        for member in archive:
            if names.isdisjoint(member.name.split("/")):
                kept.addfile(member, archive.extractfile(member) if member.isreg() else None)
    return out.getvalue()


async def _script(shell: Shell, text: str, limit: int = 0, *, reads: bool = False) -> ExecResult:
    """Run a script that should print at most `limit` bytes, which the sandbox's own tools may not keep to.

    One that only `reads` runs again when a stream that broke left unclear what it printed.
    """
    most = limit + _SLACK
    while True:
        blurred = shell.blurred
        result = await shell.script(f"exec 2>&9\n{text}", timeout=TIMEOUT, limit=most, bounded=True)
        if blurred == shell.blurred:
            break
        if not reads:
            result = replace(result, stderr=result.stdout + result.stderr)
            break
    if max(result.stdout_info.total, result.stderr_info.total) > most:
        raise FileProblem(f"more than {most} bytes came back", reason="space")
    if result.timed_out:
        raise FileProblem(f"a file operation took longer than {TIMEOUT:g} s", reason="other")
    return result


async def _framed(shell: Shell, source: str, path: str, limit: int) -> bytes:
    """The same as numbered lines of base64, each one write: nothing that runs in the background can break into one."""
    nonce = shell.token()
    number = f'awk -v n={nonce} \'{{ print n ":" NR ":" $0; fflush() }} END {{ print n ":end:" NR }}\''
    result = await _script(shell, f"{source} | base64 -w 3000 | {number}", 2 * limit, reads=True)
    _check(result, path, "read")
    lines = dict(re.findall(rb"%s:(\w+):([A-Za-z0-9+/=]*)\n" % nonce.encode(), result.stdout))
    count = int(lines.pop(b"end", b"-1"))
    try:
        return base64.b64decode(b"".join(lines[b"%d" % number] for number in range(1, count + 1)))
    except (KeyError, ValueError):
        raise FileProblem(f"{path} could not be read whole", reason="other") from None


def _counted(result: ExecResult) -> bool:
    """Whether the output is as long as `dd` says that it wrote, so that nothing else wrote between."""
    found = _COPIED.findall(result.stderr)
    return bool(found) and int(found[-1]) == len(result.stdout)


def _within(data: bytes, limit: int, path: str) -> bytes:
    if len(data) > limit:
        raise FileProblem(f"{path} is larger than {limit} bytes", reason="space")
    return data


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
    raise FileProblem(f"cannot {verb} {path}: {_last(result.stderr)}", reason=_reason(result) or "other")


def _reason(result: ExecResult) -> str | None:
    """Why a script failed, by what its tools said; None when it did not fail, or says so by its exit code."""
    if result.exit_code in (0, _MISSING, _DIRECTORY, _SPECIAL):
        return None
    return next((reason for text, reason in _REASONS if text in result.stderr), "other")


def _last(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "unknown error"
