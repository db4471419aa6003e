"""The fetchers, on the real registries: small releases, their checksums known beforehand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from envfarm.tasks.factory import trees
from envfarm.tasks.factory.registries import package
from envfarm.tasks.factory.registries.base import RegistryError, Web, web_session
from envfarm.tasks.factory.registries.crates import Crates
from envfarm.tasks.factory.registries.npm import Npm
from envfarm.tasks.factory.registries.pypi import PyPI
from envfarm.toolbox.errors import BadRequest


@pytest.fixture
async def client() -> AsyncIterator[Web]:
    async with web_session() as session:
        yield Web(session)


RELEASES = [
    ("pypi:parse", "1.20.2", "parse.py", "b41d604d16503c79d81af5165155c0b20f6c8d6c559efa66b4b695c3e5a0a0ce"),
    ("go:github.com/Masterminds/semver/v3", "v3.3.1", "version.go", None),
    ("npm:qs", "6.12.2", "lib/parse.js", None),
    ("crates:xmlparser", "0.13.2", "src/lib.rs", None),
]


@pytest.mark.parametrize(("reference", "version", "file", "sha256"), RELEASES, ids=[row[0] for row in RELEASES])
async def test_downloads_and_verifies_a_release(
    client: Web, tmp_path: Path, reference: str, version: str, file: str, sha256: str | None
) -> None:
    registry, name = package(reference)
    release = await registry.release(client, name, version)
    assert (release.registry, release.name, release.version) == (reference.split(":")[0], name, version)
    assert release.sha256 == hashlib.sha256(release.archive).hexdigest() == (sha256 or release.sha256)
    assert (trees.unpack(release, tmp_path) / file).is_file()


@pytest.mark.parametrize("reference", [row[0] for row in RELEASES])
async def test_names_published_versions_when_one_is_not(client: Web, reference: str) -> None:
    registry, name = package(reference)
    with pytest.raises(BadRequest, match=r"has no version v?99\.99\.99; published are \S+"):
        await registry.release(client, name, "99.99.99")


@pytest.mark.parametrize("reference", ["pypi", "pypi:", "gem:rails", "sqlparse"])
def test_refuses_what_is_no_package(reference: str) -> None:
    with pytest.raises(BadRequest, match="write it as pypi:NAME, go:NAME"):
        package(reference)


@pytest.fixture
async def mirror() -> AsyncIterator[str]:
    """A mirror of the kind that companies run: PEP 503 pages with relative links, npm metadata without `integrity`."""
    archive = b"not what was promised"

    async def simple(request: web.Request) -> web.Response:
        good, bad = hashlib.sha256(archive).hexdigest(), "0" * 64
        page = (
            f'<a href="../../files/thing-1.0.tar.gz#sha256={good}">thing-1.0.tar.gz</a>'
            f'<a href="../../files/thing-2.0.tar.gz#sha256={bad}">thing-2.0.tar.gz</a>'
            f'<a href="../../files/thing-3.0-py3-none-any.whl#sha256={bad}">thing-3.0-py3-none-any.whl</a>'
        )
        return web.Response(text=page, content_type="text/html")

    async def metadata(request: web.Request) -> web.Response:
        tarball = str(request.url.with_path("/files/thing.tgz"))
        return web.json_response({"versions": {"1.0.0": {"dist": {"tarball": tarball, "shasum": "0" * 40}}}})

    async def crate(request: web.Request) -> web.Response:
        row = {"name": "thing", "vers": "1.0.0", "cksum": hashlib.sha256(archive).hexdigest(), "yanked": False}
        return web.Response(body=json.dumps(row) + "\n" + json.dumps(row | {"vers": "0.9.0", "yanked": True}) + "\n")

    async def config(request: web.Request) -> web.Response:
        return web.json_response({"dl": str(request.url.with_path("/files/")) + "{lowerprefix}-{crate}-{version}"})

    async def file(request: web.Request) -> web.Response:
        return web.Response(body=archive)

    app = web.Application()
    app.router.add_get("/simple/thing/", simple)
    app.router.add_get("/npm/thing", metadata)
    app.router.add_get("/crates/th/in/thing", crate)
    app.router.add_get("/crates/config.json", config)
    app.router.add_get("/files/{name:.*}", file)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


async def test_reads_an_index_of_plain_pages(client: Web, mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{mirror}/simple/")
    release = await PyPI().release(client, "Thing", "1.0")
    assert release.url == f"{mirror}/files/thing-1.0.tar.gz"


async def test_refuses_an_archive_with_another_checksum(
    client: Web, mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RegistryError, match=r"thing-2\.0\.tar\.gz: sha256 is \w+, its registry says 0000"):
        await PyPI(f"{mirror}/simple").release(client, "thing", "2.0")
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"{mirror}/npm")
    with pytest.raises(RegistryError, match=r"sha1 is \w+, its registry says 0000"):
        await Npm().release(client, "thing", "1.0.0")


async def test_downloads_crates_where_the_index_says(client: Web, mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARGO_REGISTRIES_CRATES_IO_INDEX", f"sparse+{mirror}/crates/")
    release = await Crates().release(client, "thing", "1.0.0")
    assert release.url == f"{mirror}/files/th/in-thing-1.0.0"
    with pytest.raises(BadRequest, match=r"crates:thing 0\.9\.0 is yanked; take another version"):
        await Crates().release(client, "thing", "0.9.0")


async def test_says_that_a_version_has_only_wheels(client: Web, mirror: str) -> None:
    with pytest.raises(BadRequest, match=r"thing 3\.0 has wheels but no source distribution"):
        await PyPI(f"{mirror}/simple").release(client, "thing", "3.0")


async def test_names_the_address_of_a_registry_that_does_not_answer(client: Web) -> None:
    with pytest.raises(RegistryError, match=r"http://127\.0\.0\.1:1/simple/thing/: .*check the network"):
        await PyPI("http://127.0.0.1:1/simple").release(client, "thing", "1.0")
