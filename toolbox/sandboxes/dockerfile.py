"""Reads a Dockerfile and writes it anew: other base images, lines after each FROM, no need of BuildKit.

The engine's own (classic) builder is the one that its API serves everywhere, and it lacks what many published task
files use: here-documents, `COPY --link` and `--chmod`, cache mounts, the TARGET… arguments.
Source of the format: Docker's Dockerfile reference.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import PurePosixPath

_HEREDOC = re.compile(r"<<-?\s*([\"']?)([A-Za-z_][A-Za-z0-9_]*)\1")
_VARIABLE = re.compile(r"\\\$|\$(?:(\w+)|\{(\w+)(?::([-+])([^}]*))?\})")
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S*))?\s+")
_ASSIGNMENT = re.compile(r"""(\w+)=("(?:\\.|[^"\\])*"|'[^']*'|\S*)""")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(slots=True)
class Heredoc:
    """One here-document of an instruction."""

    name: str
    body: str
    quoted: bool  # variables in it are not expanded


@dataclass(slots=True)
class Instruction:
    """One instruction: its word in capitals, the rest with continuations joined, and the text as it was written."""

    word: str
    rest: str
    text: str
    heredocs: list[Heredoc] = field(default_factory=list)


@dataclass(slots=True)
class Rewritten:
    """A Dockerfile that the classic builder can build, and what its context must have besides."""

    text: str
    files: dict[str, str]  # context path to content
    modes: list[tuple[str, int]]  # glob of context paths to permission bits; the last match counts
    args: dict[str, str]  # build arguments that BuildKit would have set


def parse(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile; comments and parser directives are left out."""
    escape = "`" if re.match(r"\s*#\s*escape\s*=\s*`", text) else "\\"
    lines = text.replace("\r\n", "\n").split("\n")
    found: list[Instruction] = []
    at = 0
    while at < len(lines):
        first = at
        rest = ""
        while at < len(lines):
            line = lines[at]
            at += 1
            if line.lstrip().startswith("#") or (rest and not line.strip()):
                continue
            body = line.rstrip()
            if not body.endswith(escape):
                rest += line
                break
            rest += body[:-1]
        word, rest = (*rest.split(maxsplit=1), "", "")[:2]
        if not word:
            continue
        heredocs: list[Heredoc] = []
        if word.upper() in ("RUN", "COPY", "ADD"):
            for match in _HEREDOC.finditer(rest):
                end, at = _heredoc_end(lines, at, match)
                heredocs.append(end)
        found.append(Instruction(word.upper(), rest.strip(), "\n".join(lines[first:at]), heredocs))
    return found


def _heredoc_end(lines: Sequence[str], at: int, match: re.Match[str]) -> tuple[Heredoc, int]:
    tabs = match[0].startswith("<<-")
    body: list[str] = []
    while at < len(lines):
        line = lines[at].lstrip("\t") if tabs else lines[at]
        at += 1
        if line == match[2]:
            break
        body.append(line + "\n")
    return Heredoc(match[2], "".join(body), bool(match[1])), at


def images(instructions: Sequence[Instruction], args: Mapping[str, str]) -> list[str]:
    """The images that a Dockerfile starts or copies from, in order, without `scratch` and its own stages."""
    found: list[str] = []
    scope: dict[str, str] = {}
    stages: set[str] = set()
    for instruction in instructions:
        if instruction.word == "ARG" and not stages:
            _declare(instruction, scope, args)
        image = _image(instruction, scope, stages)
        if image and image not in found:
            found.append(image)
        if instruction.word == "FROM":
            stages |= {str(len(stages)), _stage(instruction)}
    return found


def rewrite(
    instructions: Sequence[Instruction],
    *,
    args: Mapping[str, str],
    replace: Mapping[str, str],
    prelude: Sequence[str] = (),
) -> Rewritten:
    """The Dockerfile with its images replaced and `prelude` after each FROM, in what the classic builder reads."""
    out = Rewritten("", {}, [], {})
    before: dict[str, str] = {}
    scope: dict[str, str] = {}
    stages: set[str] = set()
    lines: list[str] = []
    for instruction in instructions:
        flags, rest = _flags(instruction.rest)
        image = _image(instruction, before, stages)
        if instruction.word == "FROM":
            # A local image is of one platform only, and BuildKit's $BUILDPLATFORM means nothing here.
            name, *tail = rest.split(maxsplit=1)
            lines += [" ".join(["FROM", replace.get(image, name) if image else _expand(name, before), *tail]), *prelude]
            stages |= {str(len(stages)), _stage(instruction)}
            scope = {}
            continue
        if instruction.word in ("ARG", "ENV"):
            _declare(instruction, scope if stages else before, args, out.args, inherited=before)
        lines.append(_classic(instruction, flags, rest, replace.get(image or "", ""), scope, out))
    out.text = "\n".join(lines) + "\n"
    return out


def _classic(
    instruction: Instruction, flags: dict[str, str], rest: str, image: str, scope: Mapping[str, str], out: Rewritten
) -> str:
    if instruction.word == "RUN" and instruction.heredocs:
        return f"RUN {json.dumps(_script(instruction, rest))}"
    if instruction.word == "RUN":
        kept = _without_cache(instruction.rest)
        return instruction.text if kept == instruction.rest else f"RUN {kept}"
    if instruction.word not in ("COPY", "ADD"):
        return instruction.text
    flags.pop("link", None)
    if image:
        flags["from"] = image
    for heredoc in instruction.heredocs:
        place = f".envfarm/{len(out.files)}/{heredoc.name}"
        out.files[place] = heredoc.body if heredoc.quoted else _expand(heredoc.body, scope)
        rest = _HEREDOC.sub(place, rest, count=1)
    if "chmod" in flags and "from" not in flags:
        mode = int(flags.pop("chmod"), 8)
        for source in _expand(rest, scope).split()[:-1]:
            name = PurePosixPath(source.lstrip("/")).as_posix()
            out.modes += [(name, mode), (f"{name}/*" if name != "." else "*", mode)]
    options = [f"--{name}={value}" for name, value in flags.items()]
    return " ".join([instruction.word, *options, rest])


def _script(instruction: Instruction, rest: str) -> list[str]:
    """A RUN with here-documents as an argument list, whose JSON keeps newlines."""
    first = instruction.heredocs[0]
    if _HEREDOC.fullmatch(_without_cache(rest).strip()):
        if match := re.match(r"#!\s*(\S+)(?:\s+(\S+))?", first.body):
            return [part for part in (match[1], match[2], "-c", first.body) if part]
        return ["/bin/sh", "-c", first.body]
    bodies = "".join(f"{heredoc.body}{heredoc.name}\n" for heredoc in instruction.heredocs)
    return ["/bin/sh", "-c", f"{_without_cache(rest)}\n{bodies}"]


def _without_cache(rest: str) -> str:
    return re.sub(r"--mount=type=(cache|tmpfs)\S*\s+", "", rest)


def _flags(rest: str) -> tuple[dict[str, str], str]:
    flags: dict[str, str] = {}
    while match := _FLAG.match(rest):
        flags[match[1]] = match[2] or ""
        rest = rest[match.end() :]
    return flags, rest


def _image(instruction: Instruction, scope: Mapping[str, str], stages: set[str]) -> str | None:
    flags, rest = _flags(instruction.rest)
    if instruction.word == "FROM":
        name = _expand(rest.split()[0], scope) if rest else ""
    elif instruction.word in ("COPY", "ADD"):
        name = flags.get("from", "")
    else:
        return None
    return None if not name or name == "scratch" or name.lower() in stages else name


def _stage(instruction: Instruction) -> str:
    words = instruction.rest.lower().split()
    return words[words.index("as") + 1] if "as" in words[:-1] else ""


def _declare(
    instruction: Instruction,
    scope: dict[str, str],
    args: Mapping[str, str],
    automatic: dict[str, str] | None = None,
    *,
    inherited: Mapping[str, str] | None = None,
) -> None:
    pairs = _ASSIGNMENT.findall(instruction.rest)
    if instruction.word == "ENV":
        old_form = instruction.rest.split(maxsplit=1)
        pairs = pairs if "=" in old_form[0] else [(old_form[0], old_form[-1])]
        scope.update({name: _expand(_unquote(value), scope) for name, value in pairs})
        return
    for word in re.findall(r"(?:^|\s)(\w+)(?=\s|$)", re.sub(_ASSIGNMENT, " ", instruction.rest)):
        value = args.get(word, (inherited or {}).get(word, _automatic().get(word)))
        if value is not None:
            scope[word] = value
        if automatic is not None and word in _automatic() and word not in args:
            automatic[word] = _automatic()[word]
    scope.update({name: args.get(name, _expand(_unquote(value), scope)) for name, value in pairs})


def _automatic() -> dict[str, str]:
    machine = _MACHINES.get(platform.machine(), platform.machine())
    kinds = {"OS": "linux", "ARCH": machine, "PLATFORM": f"linux/{machine}", "VARIANT": ""}
    return {f"{side}{kind}": value for side in ("TARGET", "BUILD") for kind, value in kinds.items()}


def _unquote(value: str) -> str:
    return value[1:-1] if value[:1] in ("'", '"') and value[-1:] == value[:1] else value


def _expand(text: str, scope: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[0] == "\\$":
            return "$"
        known = scope.get(match[1] or match[2] or "", "")
        if match[3] == "-":
            return known or match[4]
        if match[3] == "+":
            return match[4] if known else ""
        return known

    return _VARIABLE.sub(value, text)


def mode_of(name: str, executable: bool, modes: Sequence[tuple[str, int]]) -> int:
    """Permission bits of a context file: those that `COPY --chmod` asks for, else as git keeps them."""
    mode = 0o755 if executable else 0o644
    for pattern, wanted in modes:
        if fnmatch(name, pattern):
            mode = wanted
    return mode
