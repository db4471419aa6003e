"""The shell of a simulated sandbox: a handful of commands over files in a dictionary."""

from __future__ import annotations

import shlex
import tempfile
from functools import lru_cache
from pathlib import Path

from envfarm.toolbox.sandboxes.base import ExecResult, Output


class SimulatedShell:
    """`echo true false exit pwd cd cat mkdir chmod sleep` and `> file`, joined by `;` and `&&`."""

    def __init__(self, files: dict[str, bytes], cwd: str, stdin: bytes, timeout: float) -> None:
        self.files = files
        self.cwd = cwd
        self.stdin = stdin
        self.timeout = timeout
        self.slept = 0.0
        self.out = b""
        self.err = b""

    def result(self, command: str, limit: int, spool: bool) -> ExecResult:
        """Run the whole command line; `sleep` takes no time, but it can exceed the time-out."""
        code: int | None
        try:
            code = self._line(command)
        except ValueError as error:  # of shlex: an open quote
            code, self.err = 2, f"sh: {error}\n".encode()
        except TimeoutError:
            code = None
        out, err = _cut(self.out, limit, spool), _cut(self.err, limit, spool)
        truncated = out.cut_at is not None or err.cut_at is not None
        return ExecResult(code, out.data, err.data, truncated, code is None, self.slept, out, err)

    def _line(self, command: str) -> int:
        code = 0
        simple: list[str] = []
        for word in (*_words(command), ";"):
            if word not in (";", "&&"):
                simple.append(word)
                continue
            if simple and simple[0] == "exit":
                return int(simple[1]) & 255 if len(simple) > 1 and simple[1].isdigit() else code
            if simple:
                code = self._simple(simple)
            if word == "&&" and code:
                return code
            simple = []
        return code

    def _simple(self, words: list[str]) -> int:
        target = None
        if ">" in words[:-1]:
            at = words.index(">")
            target, words = self._path(words[at + 1]), words[:at] + words[at + 2 :]
        before = self.out
        self.out = b""
        code = self._command(words[0], words[1:]) if words else 0
        if target is not None:
            self.files[target] = self.out
            self.out = b""
        self.out = before + self.out
        return code

    def _command(self, name: str, words: list[str]) -> int:
        if name == "echo":
            self.out = (" ".join(words) + "\n").encode()
        elif name == "pwd":
            self.out = f"{self.cwd}\n".encode()
        elif name == "cd":
            self.cwd = self._path(words[0]) if words else "/"
        elif name == "cat":
            return self._cat(words)
        elif name == "sleep" and words:
            self.slept += float(words[0])
            if self.slept > self.timeout:
                raise TimeoutError
        elif name == "false":
            return 1
        elif name not in ("true", ":", "mkdir", "chmod"):  # folders and modes are not kept
            self.err += f"sh: {name}: not found\n".encode()
            return 127
        return 0

    def _cat(self, words: list[str]) -> int:
        if not words:
            self.out = self.stdin
        for word in words:
            data = self.files.get(self._path(word))
            if data is None:
                self.err += f"cat: {word}: No such file or directory\n".encode()
                return 1
            self.out += data
        return 0

    def _path(self, word: str) -> str:
        return word if word.startswith("/") else f"{self.cwd.rstrip('/')}/{word}"


@lru_cache(maxsize=1024)
def _words(command: str) -> tuple[str, ...]:
    words = shlex.shlex(command, posix=True, punctuation_chars=";&>")
    words.whitespace_split = True
    return tuple(words)


def _cut(data: bytes, limit: int, spool: bool) -> Output:
    if len(data) <= limit:
        return Output(data, len(data))
    head = limit // 2
    return Output(data[:head] + data[len(data) - (limit - head) :], len(data), head, _spooled(data) if spool else None)


def _spooled(data: bytes) -> Path:
    """The whole of an output, in a file that the caller ends."""
    fd, name = tempfile.mkstemp(prefix="envfarm-simulated-")
    with open(fd, "wb") as file:
        file.write(data)
    return Path(name)
