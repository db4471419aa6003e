"""Bringing images from the engine into a registry."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from envfarm.toolbox.errors import ImageError
from envfarm.toolbox.sandboxes.docker_push import push, remote_name


@pytest.mark.parametrize(
    ("image", "repository", "tag"),
    [
        ("envfarm/task-one:0123", "registry.example/farm/envfarm/task-one", "0123"),
        ("debian:12", "registry.example/farm/debian", "12"),
        ("debian", "registry.example/farm/debian", "latest"),
        ("localhost:5000/envfarm/base:1", "registry.example/farm/envfarm/base", "1"),
        ("ghcr.io/them/it", "registry.example/farm/them/it", "latest"),
        ("ghcr.io/it:2", "registry.example/farm/it", "2"),
        ("them/it@sha256:0123456789abcdef", "registry.example/farm/them/it", "0123456789ab"),
    ],
)
def test_an_image_keeps_its_name_below_the_registrys(image: str, repository: str, tag: str) -> None:
    assert remote_name("registry.example/farm/", image) == (repository, tag)


async def test_what_was_pushed_is_in_the_registry_by_digest(cluster: Any, docker_busybox: str) -> None:
    pushed = await push(docker_busybox, f"{cluster.registry}/push-test")
    repository, _, digest = pushed.reference.removeprefix(f"{cluster.registry}/").partition("@")
    assert repository == "push-test/envfarm/busybox"
    assert pushed.config["Cmd"] == ["sh"]
    async with aiohttp.ClientSession() as session:
        url = f"http://{cluster.registry}/v2/{repository}/manifests/{digest}"
        accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
        async with session.get(url, headers=accept) as answer:
            assert answer.status == 200
            assert answer.headers["Docker-Content-Digest"] == digest
    assert await push(docker_busybox, f"{cluster.registry}/push-test") == pushed


async def test_a_registry_that_is_not_there_is_an_error_that_names_it(docker_busybox: str) -> None:
    with pytest.raises(
        ImageError, match=r"envfarm/busybox:1: localhost:1/envfarm/busybox:1 does not take it \(.*`docker login`"
    ):
        await push(docker_busybox, "localhost:1")


async def test_an_image_that_is_not_there_is_an_error(docker_busybox: str) -> None:
    with pytest.raises(ImageError, match="image envfarm/no-such-image:1: not on this machine"):
        await push("envfarm/no-such-image:1", "localhost:1")
