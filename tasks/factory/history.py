"""`from-git`: a task from a commit of a repository's history that fixed a bug."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from envfarm.tasks.factory import trees
from envfarm.tasks.factory.languages import LANGUAGES, detect
from envfarm.tasks.factory.languages.base import Language, Project, first
from envfarm.tasks.factory.languages.go import module
from envfarm.tasks.factory.licences import licence
from envfarm.tasks.factory.make import Made, Pair, Workshop
from envfarm.tasks.factory.trees import git
from envfarm.toolbox.errors import BadRequest

_TRAILER = re.compile(r"^(signed-off-by|co-authored-by|reviewed-by|change-id|cc|git-svn-id)\b.*$", re.I | re.M)


async def from_git(
    repository: str,
    commit: str,
    *,
    out: Path,
    workshop: Workshop,
    issue: str | None = None,
    extra: Sequence[str] = (),
) -> Made:
    """Make a task of a fix commit: its parent's source, its own test files, the issue's text as the statement.

    `repository` is a folder or whatever `git clone` takes. Without `issue` the statement is the commit's message.
    Raises BadRequest, NotSound with the reason, ImageError, SandboxError.
    """
    with tempfile.TemporaryDirectory(prefix="envfarm-history-") as name:
        scratch = Path(name)
        workshop.progress(f"reading {repository}")
        clone = await _clone(repository, scratch)
        fix = await _commit(clone, commit)
        base = await _parent(clone, fix, commit)
        old, new = scratch / "old", scratch / "new"
        archive = await _export(clone, base, old)
        await _export(clone, fix, new)
        message, _ = await git("show", "-s", "--format=%cs%n%B", fix, cwd=clone)
        day, _, text = message.decode("utf-8", "replace").partition("\n")
        project = _project(_name(repository), (old, new), date.fromisoformat(day), extra)
        source = {"registry": "git", "name": repository, "old": base, "new": fix}
        source["statement"] = "commit message" if issue is None else "issue"
        pair = _pair(project, source, words(text) if issue is None else issue, archive)
        return await workshop.make(pair, out)


async def _clone(repository: str, scratch: Path) -> Path:
    """A local repository as it is; anything else cloned bare, with the whole history."""
    if local := _folder(repository):
        await git("rev-parse", "--git-dir", cwd=local)
        return local
    if repository.startswith("-") or not re.search(r"[:/]", repository):
        raise BadRequest(f"{repository}: neither a folder nor an address; give the path or the URL of a git repository")
    await git("clone", "--quiet", "--bare", "--", repository, "repository.git", cwd=scratch)
    return scratch / "repository.git"


def _folder(repository: str) -> Path | None:
    path = Path(repository).expanduser()
    return path if path.is_dir() else None


async def _commit(clone: Path, commit: str) -> str:
    try:
        found, _ = await git("rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}", cwd=clone)
    except BadRequest:
        raise BadRequest(f"{commit}: no such commit in the repository; give its full id") from None
    return found.decode().strip()


async def _parent(clone: Path, fix: str, commit: str) -> str:
    """The first parent, which of a merge is the branch that it was merged into."""
    found, _ = await git("rev-list", "--parents", "-n", "1", fix, cwd=clone)
    parents = found.decode().split()[1:]
    if not parents:
        raise BadRequest(f"{commit}: the first commit has no parent to start from; give a fix commit")
    return parents[0]


async def _export(clone: Path, commit: str, into: Path) -> bytes:
    """Unpack a commit's tree; returns it as a reproducible tar.gz."""
    data, _ = await git("-c", "tar.umask=0022", "archive", "--format=tar", commit, cwd=clone)
    _unpack(data, into)
    return gzip.compress(data, mtime=0)


def _unpack(data: bytes, into: Path) -> None:
    into.mkdir()
    with tarfile.open(fileobj=io.BytesIO(data)) as bundle:
        bundle.extractall(into, filter="tar")


def _project(name: str, roots: tuple[Path, Path], day: date, extra: Sequence[str]) -> Project:
    old, new = roots
    language = _language(old)
    name = module(first(old, ["go.mod"]) or "") or name
    project = Project(name, _version(old), old, new, (), day, tuple(extra))
    tests = trees.tests(trees.names(new), language.runner(project))
    return replace(project, tests=tuple(tests))


def _pair(project: Project, source: dict[str, str], text: str, archive: bytes) -> Pair:
    name = _name(source["name"])
    if found := licence(project.old):
        source["licence"] = found

    def get_tests(files: Sequence[str]) -> tuple[str, Mapping[str, bytes]]:
        return 'tar -C "$tests" -xzf "$here/tests.tar.gz"', {"tests.tar.gz": _pack(project.new, files)}

    return Pair(
        task=re.sub(r"[^a-z0-9.]+", "-", f"{name}-{source['new'][:12]}".lower()),
        language=_language(project.old),
        project=project,
        instruction=statement(name, text),
        source=source,
        get_old="ADD source.tar.gz /testbed/",
        get_tests=get_tests,
        context={"source.tar.gz": archive},
    )


def _name(repository: str) -> str:
    """`sqlparse` of `https://host/owner/sqlparse.git`."""
    return repository.rstrip("/").removesuffix("/.git").removesuffix(".git").rpartition("/")[2] or "repository"


def words(message: str) -> str:
    """A commit's message without its trailers (`Signed-off-by:` and the like)."""
    return _TRAILER.sub("", message).strip()


def statement(name: str, text: str) -> str:
    """The problem statement, in the words of the issue or of the commit's message."""
    return (
        f"The repository in `/testbed` is {name}. It has this issue:\n\n"
        + "\n".join(f"> {line}".rstrip() for line in text.strip().splitlines())
        + "\n\nChange the code so that it is solved and everything else keeps working.\n"
        "Do not change the tests: hidden ones decide. There is no network.\n"
    )


def _language(tree: Path) -> Language:
    language = detect({entry.name for entry in tree.iterdir()})
    if language is None:
        marks = ", ".join(sorted(mark for known in LANGUAGES.values() for mark in known.marks))
        raise BadRequest(f"the repository is of no language that the factory knows: none of {marks} at its root")
    return language


def _version(tree: Path) -> str:
    """The version that the tree itself names, for build tools that would ask git."""
    for name in ("pyproject.toml", "setup.py", "setup.cfg", "package.json", "Cargo.toml"):
        text = first(tree, [name]) or ""
        if match := re.search(r"^\s*\"?version\"?\s*[=:]\s*[\"']?(\d+(?:\.\d+)+)", text, re.M):
            return match[1]
    return "999.0"  # newer than any dependency would ask for


def _pack(tree: Path, files: Sequence[str]) -> bytes:
    """A reproducible tar.gz of some files of a tree."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as bundle:
        for name in sorted(files):
            info = bundle.gettarinfo(tree / name, arcname=name)
            info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
            if info.isreg():
                with (tree / name).open("rb") as file:
                    bundle.addfile(info, file)
            else:
                bundle.addfile(info)
    return gzip.compress(buffer.getvalue(), mtime=0)
