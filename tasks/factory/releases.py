"""`from-releases`: a task from two published releases of a package."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from envfarm.tasks.factory import changelog, trees
from envfarm.tasks.factory.languages import LANGUAGES
from envfarm.tasks.factory.languages.base import Project, shell
from envfarm.tasks.factory.licences import licence
from envfarm.tasks.factory.make import Made, Pair, Workshop
from envfarm.tasks.factory.registries import package
from envfarm.tasks.factory.registries.base import Registry, Release, Web, web_session
from envfarm.toolbox.errors import BadRequest


async def from_releases(
    reference: str, old: str, new: str, *, out: Path, workshop: Workshop, extra: Sequence[str] = ()
) -> Made:
    """Make a task of `pypi:NAME` (go:, crates:, npm:): the older release's source, the newer one's tests.

    `extra` are packages that the tests need and the project does not declare. The task is written below `out`.
    Raises BadRequest, RegistryError, NotSound with the reason, ImageError, SandboxError.
    """
    registry, name = package(reference)
    if old == new:
        raise BadRequest(f"{reference}: {old} twice; give an older and a newer version")
    async with web_session() as session:
        workshop.progress(f"downloading {name} {old} and {new}")
        web = Web(session)
        before, after = await registry.release(web, name, old), await registry.release(web, name, new)
    with tempfile.TemporaryDirectory(prefix="envfarm-sources-") as scratch:
        tree = trees.unpack(before, Path(scratch, "old")), trees.unpack(after, Path(scratch, "new"))
        return await workshop.make(_pair(registry, before, after, *tree, extra), out)


def _pair(registry: Registry, before: Release, after: Release, old: Path, new: Path, extra: Sequence[str]) -> Pair:
    language = LANGUAGES[registry.language]
    name, version = before.name, before.version
    project = Project(name, version, old, new, (), after.published, tuple(extra))
    tests = trees.tests(trees.names(new), language.runner(project))
    project = Project(name, version, old, new, tuple(tests), after.published, tuple(extra))
    entry = changelog.entry(new, before.version, after.version)
    source = {
        "registry": registry.name,
        "name": name,
        "old": before.version,
        "old_url": before.url,
        "old_sha256": before.sha256,
        "new": after.version,
        "new_url": after.url,
        "new_sha256": after.sha256,
        "statement": "changelog" if entry else "none",
    }
    if found := licence(old):
        source["licence"] = found
    return Pair(
        task=_task_name(registry.name, name, after.version),
        language=language,
        project=project,
        instruction=statement(name, before.version, entry),
        source=source,
        get_old=shell(*_fetch(before, "/testbed")),
        get_tests=lambda files: _get_tests(after, files),
    )


def statement(name: str, version: str, entry: str | None) -> str:
    """The problem statement, in the words of the changelog entry where there is one."""
    head = f"The repository in `/testbed` is {name} {version}.\n\n"
    if entry is None:
        return head + (
            "This release has a bug that the next one fixed. Its changelog does not say what was wrong: find the bug "
            "and fix it.\n\nDo not change the tests: hidden ones decide. There is no network.\n"
        )
    return head + (
        "It does not do yet what the project later wrote in its changelog:\n\n"
        + "\n".join(f"> {line}".rstrip() for line in entry.splitlines())
        + "\n\nChange the code so that this holds and everything else keeps working.\n"
        "Do not change the tests: hidden ones decide. There is no network.\n"
    )


def _task_name(registry: str, name: str, version: str) -> str:
    last = re.sub(r"/v\d+$", "", name) if registry == "go" else name
    last = last.rpartition("/")[2] if registry == "go" else last
    return re.sub(r"[^a-z0-9.]+", "-", f"{last}-{version.removeprefix('v')}".lower()).strip("-")


def _fetch(release: Release, folder: str) -> list[str]:
    """Shell commands that download a release, check it, and leave its source in a folder."""
    commands = [
        f"curl -fsSL --retry 5 -o /tmp/release {shlex.quote(release.url)}",
        f"echo '{release.sha256}  /tmp/release' | sha256sum -c --quiet -",
    ]
    if release.format == "zip":
        commands += [
            "mkdir /tmp/unpacked",
            "unzip -q /tmp/release -d /tmp/unpacked",
            f"mkdir -p {folder}",
            f"cp -a {shlex.quote(f'/tmp/unpacked/{release.prefix}')}/. {folder}/",
        ]
    else:
        commands += [
            f"mkdir -p {folder}",
            f"tar -xf /tmp/release -C {folder} --strip-components=1 --no-same-owner",
            f"chmod -R u+rwX,go+rX {folder}",
        ]
    return [*commands, "rm -rf /tmp/release /tmp/unpacked"]


def _get_tests(release: Release, files: Sequence[str]) -> tuple[str, Mapping[str, bytes]]:
    """The newer release, of which only the files of a list are kept."""
    lines = _fetch(release, "/tmp/newer")
    lines.append('tar -C /tmp/newer -cf - --verbatim-files-from -T "$here/files.txt" | tar -C "$tests" -xf -')
    lines.append("rm -rf /tmp/newer")
    return "\n".join(lines), {"files.txt": "".join(f"{name}\n" for name in files).encode("utf-8", "surrogateescape")}
