"""What an image's registry says of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import docker
import pytest

from envfarm.k8s.config import KubernetesConfig
from envfarm.k8s.registry import Name, Registry

from ..conftest import Cluster


@pytest.mark.parametrize(
    ("reference", "host", "path", "tag"),
    [
        ("debian", "registry-1.docker.io", "library/debian", "latest"),
        ("envfarm/base:1", "registry-1.docker.io", "envfarm/base", "1"),
        ("localhost:5000/a/b", "localhost:5000", "a/b", "latest"),
        ("ghcr.io/a/b:c@sha256:00", "ghcr.io", "a/b", "sha256:00"),
    ],
)
def test_names_are_read_as_docker_reads_them(reference: str, host: str, path: str, tag: str) -> None:
    assert Name.parse(reference) == Name(host, path, tag)


async def test_the_configuration_and_the_digest(cluster: Cluster, busybox: str, engine: docker.DockerClient) -> None:
    name = f"{cluster.registry}/envfarm-tests/config:1"
    made = engine.containers.create(busybox, ["true"])
    made.commit(name.rpartition(":")[0], "1", changes=["USER nobody", "WORKDIR /srv", 'ENTRYPOINT ["/bin/a", "b"]'])
    made.remove()
    await asyncio.to_thread(engine.images.push, name)
    image = await Registry(KubernetesConfig()).image(name)
    assert image.reference.startswith(f"{cluster.registry}/envfarm-tests/config@sha256:")
    assert (image.config["User"], image.config["WorkingDir"]) == ("nobody", "/srv")
    assert image.config["Entrypoint"] == ["/bin/a", "b"]
    again = await Registry(KubernetesConfig()).image(image.reference)
    assert again == image
    engine.images.remove(name, force=True)


@pytest.mark.parametrize("name", ["{}/envfarm/none:1", "localhost:1/a:1", "no-such-host.invalid/a"])
async def test_an_image_that_no_registry_describes_is_used_as_it_is(
    cluster: Cluster, name: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    name = name.format(cluster.registry)
    registry = Registry(KubernetesConfig(registry_auth=tmp_path / "none.json"))
    for _ in range(3):
        image = await registry.image(name)
        assert (image.reference, image.config) == (name, {})
    assert len([record for record in caplog.records if name in record.message]) == 1
