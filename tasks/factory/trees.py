"""Source trees on disk: unpacked archives, which of their files are tests, and the fix between two of them."""

from __future__ import annotations

import asyncio
import io
import re
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from envfarm.tasks.factory.registries.base import Release
from envfarm.tasks.runners.base import Runner
from envfarm.toolbox.errors import BadRequest

_PROSE = re.compile(
    r"\.(md|rst|adoc|txt)$|^(licen[cs]e|copying|notice|authors|contributors|changelog|changes)\b"
    r"|^(readme|news|history|install|todo|thanks|credits|bugs|hacking|contributing|release[-_]?notes|upgrading|faq)$",
    re.I,  # the second row only as whole names: install.py and history.go are code
)
_PACKAGING = re.compile(
    r"(^|/)(PKG-INFO|MANIFEST(\.in)?|\.cargo_vcs_info\.json|Cargo\.toml\.orig|Cargo\.lock|package-lock\.json|[^/]*\.lock|pyproject\.toml|setup\.py"
    r"|package\.json|Cargo\.toml|go\.(mod|sum))$"
    r"|(^|/)(\.git|\.github|[^/]*\.egg-info|[^/]*\.dist-info|node_modules|__pycache__|dist|docs?|man|examples?)/"
)
_HARNESS = re.compile(r"(^|/)(tox\.ini|noxfile\.py|\.[^/]+|setup\.cfg|\.[^/]+/.*)$")


def unpack(release: Release, into: Path) -> Path:
    """Unpack a release's archive; returns the folder that holds its source. Raises BadRequest for a broken one."""
    try:
        if release.format == "zip":
            with zipfile.ZipFile(io.BytesIO(release.archive)) as bundle:
                bundle.extractall(into)
        else:
            with tarfile.open(fileobj=io.BytesIO(release.archive)) as bundle:
                bundle.extractall(into, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        why = str(error).partition("\n")[0].rstrip(":") or "it is cut short"
        raise BadRequest(f"{release.url}: cannot be unpacked: {why}; take another version") from None
    root = into / release.prefix
    if root.is_dir():
        return root
    folders = [entry for entry in into.iterdir() if entry.is_dir()]
    if len(folders) != 1:
        raise BadRequest(f"{release.url}: holds no folder {release.prefix}; take another version")
    return folders[0]


def names(tree: Path) -> set[str]:
    """Every file and link below a tree, with `/`, relative to it; nothing of git's own."""
    return {
        path.relative_to(tree).as_posix()
        for path in tree.rglob("*")
        if (path.is_symlink() or path.is_file()) and ".git" not in path.relative_to(tree).parts
    }


def tests(files: Iterable[str], runner: Runner) -> list[str]:
    """The files that hold tests or what only tests need, sorted; packaging metadata and caches are none."""
    return sorted(name for name in files if runner.is_test(name) and not re.search(r"\.(pyc|pyo)$|\.egg-info/", name))


def test_paths(files: Iterable[str], chosen: Iterable[str]) -> list[str]:
    """The fewest paths that name the chosen files: a folder stands for all it holds when all of that is chosen."""
    wanted = set(chosen)
    mixed = {str(parent) for name in set(files) - wanted for parent in PurePosixPath(name).parents}
    result = set()
    for name in wanted:
        parents = [str(parent) for parent in reversed(PurePosixPath(name).parents)]
        result.add(next((parent for parent in parents if parent != "." and parent not in mixed), name))
    return sorted(result)


def is_fix(name: str, runner: Runner) -> bool:
    """Whether a changed file belongs to the reference fix: code, neither tests, prose, packaging nor harness."""
    base = name.rpartition("/")[2]
    if runner.is_test(name) or _PACKAGING.search(name) or _HARNESS.search(name) or _PROSE.search(base):
        return False
    return not any(PurePosixPath(part).match(glob) for glob in runner.protected for part in (name, *name.split("/")))


async def fix(old: Path, new: Path, runner: Runner, scratch: Path) -> str:
    """The reference fix: what changed in code from one tree to the other, as git writes it ("" for nothing)."""
    for letter, tree in (("a", old), ("b", new)):
        for name in sorted(names(tree)):
            if is_fix(name, runner):
                (scratch / letter / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(tree / name, scratch / letter / name, follow_symlinks=False)
        (scratch / letter).mkdir(parents=True, exist_ok=True)
    # A rename is told as if its two names were of one tree, and `git apply` refuses that ("inconsistent old filename").
    args = ("diff", "--no-index", "--no-color", "--no-ext-diff", "--no-renames", "--binary", "--no-prefix")
    patch, _ = await git(*args, "--", "a", "b", cwd=scratch, accept=(0, 1))
    return patch.decode("utf-8", "surrogateescape")


async def git(*args: str, cwd: Path, accept: tuple[int, ...] = (0,)) -> tuple[bytes, str]:
    """Run git with no configuration of the user's or the repository's hooks; returns stdout and stderr.

    Raises BadRequest with git's own last line when its exit status is not accepted.
    """
    if shutil.which("git") is None:
        raise BadRequest("git is not installed; install it (apt-get install git)")
    process = await asyncio.create_subprocess_exec(
        *("git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=", "-c", "safe.directory=*", *args),
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    text = err.decode(errors="replace").strip()
    if process.returncode not in accept:
        raise BadRequest(f"git {args[0]}: {(text.splitlines() or ['failed'])[-1]}")
    return out, text
