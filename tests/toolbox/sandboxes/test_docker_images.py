"""Building images on a real engine."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import uuid4

import docker
import pytest

from envfarm.toolbox.errors import BackendUnavailable, ImageError
from envfarm.toolbox.sandboxes.docker_images import CA_VARIABLES, DockerImages

MakeContext = Callable[..., Path]


@pytest.fixture
def make_context(tmp_path: Path) -> MakeContext:
    """Writes a build context that no earlier test has built."""

    def make(dockerfile: str = "FROM python:3.11\nCOPY . /app/\n", name: str = "context", **files: str) -> Path:
        folder = tmp_path / name
        for place, text in {"Dockerfile": f"{dockerfile}# {uuid4()}\n", **files}.items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_text(text)
        return folder

    return make


@pytest.fixture
async def builder(tmp_path: Path, docker_busybox: str) -> AsyncIterator[DockerImages]:
    images = DockerImages(remap={"python:*": docker_busybox, "mine/*": "mine/absent:1"}, logs=tmp_path / "builds")
    yield images
    await images.close()


@pytest.fixture
def inside(engine: docker.DockerClient) -> Callable[[str, str], str]:
    """What a command prints in a container of an image."""

    def run(image: str, command: str) -> str:
        out: bytes = engine.containers.run(image, ["sh", "-c", command], remove=True, network_mode="none")
        return out.decode()

    return run


async def test_a_context_is_built_and_found_again(
    make_context: MakeContext, builder: DockerImages, tmp_path: Path, inside: Callable[[str, str], str]
) -> None:
    context = make_context(**{"run.sh": "#!/bin/sh\necho hi\n", "sub/b": "b", ".dockerignore": "# no\nsecret*\n"})
    (context / "run.sh").chmod(0o775)
    (context / "link").symlink_to("sub/b")
    (context / "secret.txt").write_text("s")
    image = await builder.build(context, name="x")
    assert image.startswith("envfarm/task-x:")
    assert inside(image, "cd /app && ./run.sh && cat link && ls && readlink link") == (
        "hi\nbDockerfile\nlink\nrun.sh\nsub\nsub/b\n"
    )
    (log,) = (tmp_path / "builds").glob("x-*.log")
    assert "Successfully built" in log.read_text()
    log.unlink()
    assert await builder.build(context, name="x") == image
    assert not log.exists()  # nothing was built


async def test_the_name_of_an_image_is_the_hash_of_all_that_makes_it(
    make_context: MakeContext, builder: DockerImages
) -> None:
    context = make_context(
        "FROM python:3.11\nARG A\nRUN echo $A > /a\n", **{"data": "1", "skip": "1", ".dockerignore": "skip"}
    )
    seen = [await builder.build(context)]

    async def again(**how: object) -> bool:
        image = await builder.build(context, **how)  # type: ignore[arg-type]
        seen.append(image)
        return image not in seen[:-1]

    assert not await again()
    assert await again(args={"A": "1"})
    (context / "skip").write_text("2")
    assert not await again()
    (context / "data").write_text("2")
    assert await again()
    (context / "data").chmod(0o755)
    assert await again()
    (context / "Dockerfile").write_text((context / "Dockerfile").read_text() + "RUN true\n")
    assert await again()


async def test_many_who_ask_at_once_get_one_build(
    make_context: MakeContext, builder: DockerImages, tmp_path: Path
) -> None:
    context = make_context("FROM python:3.11\nRUN sleep 0.3; cat /proc/sys/kernel/random/uuid > /once\n")
    assert len({*await asyncio.gather(*(builder.build(context) for _ in range(8)))}) == 1
    assert len([*(tmp_path / "builds").glob("*.log")]) == 1


async def test_two_processes_build_once(
    make_context: MakeContext, builder: DockerImages, tmp_path: Path, docker_busybox: str
) -> None:
    context = make_context("FROM python:3.11\nRUN sleep 1; cat /proc/sys/kernel/random/uuid > /once\n")
    program = f"""
import asyncio, pathlib
from envfarm.toolbox.sandboxes.docker_images import DockerImages
images = DockerImages(remap={{"python:*": {docker_busybox!r}}}, logs=pathlib.Path({str(tmp_path / "builds")!r}))
print(asyncio.run(images.build(pathlib.Path({str(context)!r}))))
"""
    command = (sys.executable, "-c", program)
    others = [await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE) for _ in range(2)]
    image = await builder.build(context)
    printed = [(await other.communicate())[0].decode().strip() for other in others]
    assert printed == [image, image]
    (log,) = (tmp_path / "builds").glob("*.log")
    assert log.read_text().count("Step 2/3 : RUN sleep 1") == 1


async def test_base_images_are_replaced_where_the_machine_lacks_them(
    make_context: MakeContext, builder: DockerImages, docker_busybox: str
) -> None:
    assert await builder.find("python:3.11-bookworm") == docker_busybox
    assert await builder.find("docker.io/library/python:3.9@sha256:" + "0" * 64) == docker_busybox
    assert await builder.find(docker_busybox) == docker_busybox
    context = make_context(
        "ARG V=3\nFROM --platform=linux/amd64 python:$V AS one\nFROM one\nCOPY --from=python:2 /bin /b\n"
    )
    assert await builder.build(context)


async def test_an_image_that_nobody_has_is_an_error_with_its_fix(
    make_context: MakeContext, builder: DockerImages
) -> None:
    name = f"registry.invalid/{uuid4().hex}:1"
    with pytest.raises(ImageError, match=r"cannot be pulled .*; build it here, or .*base_images"):
        await builder.find(name)
    with pytest.raises(ImageError, match=rf"Dockerfile: image {name}: not on this machine"):
        await builder.build(make_context(f"FROM {name}\n"))
    with pytest.raises(ImageError, match="base_images names mine/absent:1 for it: build that one"):
        await builder.find("mine/thing")


async def test_a_build_that_fails_shows_the_end_of_its_log_and_where_it_is(
    make_context: MakeContext, builder: DockerImages, tmp_path: Path
) -> None:
    context = make_context("FROM python:3.11\nRUN echo the reason >&2; exit 3\n")
    for _ in range(2):  # a failure is not kept
        with pytest.raises(ImageError, match=r"Dockerfile: the build failed: .*code: 3; its log is (\S+)") as caught:
            await builder.build(context)
        assert "\n" not in str(caught.value)
        assert "the reason" in caught.value.log
        (log,) = (tmp_path / "builds").glob("*.log")
        assert str(caught.value).endswith(f"its log is {log}")
        assert log.read_text() == caught.value.log
    with pytest.raises(ImageError, match="unknown instruction: FORM"):
        await builder.build(make_context("FROM python:3.11\nFORM x\n", name="typo"))
    with pytest.raises(ImageError, match="nowhere/Dockerfile: cannot be read"):
        await builder.build(tmp_path / "nowhere")


async def test_a_build_that_takes_too_long_is_stopped(
    make_context: MakeContext, builder: DockerImages, engine: docker.DockerClient
) -> None:
    mark = uuid4().hex
    context = make_context(f"FROM python:3.11\nRUN : {mark}; sleep 600\n")
    with pytest.raises(ImageError, match=r"not done after 3 s \(\[environment\] build_timeout_sec\)"):
        await builder.build(context, timeout=3)
    for _ in range(100):
        if not [one for one in engine.containers.list(all=True, ignore_removed=True) if mark in str(one.attrs)]:
            break
        await asyncio.sleep(0.1)
    else:
        pytest.fail("the build's container is still there")


async def test_closing_stops_what_is_being_built(
    make_context: MakeContext, tmp_path: Path, docker_busybox: str
) -> None:
    images = DockerImages(remap={"python:*": docker_busybox}, logs=tmp_path / "builds", parallel=1)
    builds = [
        asyncio.create_task(images.build(make_context("FROM python:3.11\nRUN sleep 600\n", name=name)))
        for name in ("running", "waiting")
    ]
    for _ in range(200):
        if [*(tmp_path / "builds").glob("*.log")]:
            break
        await asyncio.sleep(0.05)
    await images.close()
    assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*builds, return_exceptions=True))


async def test_a_build_goes_on_for_those_who_still_wait(make_context: MakeContext, builder: DockerImages) -> None:
    context = make_context("FROM python:3.11\nRUN sleep 0.5\n")
    first = asyncio.create_task(builder.build(context))
    second = asyncio.create_task(builder.build(context))
    await asyncio.sleep(0.2)
    first.cancel()
    assert (await second).startswith("envfarm/task-")


async def test_a_ca_bundle_is_there_while_building_and_leaves_its_file_only(
    make_context: MakeContext, tmp_path: Path, docker_busybox: str, inside: Callable[[str, str], str]
) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("BEGIN CERTIFICATE\n")
    images = DockerImages(remap={"python:*": docker_busybox}, ca_bundle=bundle, logs=tmp_path / "builds")
    context = make_context(
        "FROM python:3.11 AS a\nFROM python:3.11\nRUN cp $PIP_CERT /seen; env > /env\nCOPY --from=a /bin/sh /s\n"
    )
    image = await images.build(context)
    await images.close()
    seen, building, now, files = inside(
        image, "cat /seen; echo --; cat /env; echo --; env; echo --; find / -xdev -name '*envfarm*'"
    ).split("--\n")
    assert seen == bundle.read_text()
    assert [name for name in CA_VARIABLES if f"{name}=" not in building] == []
    assert [name for name in CA_VARIABLES if f"{name}=" in now] == []
    assert files.split() == ["/usr/local/share/ca-certificates/envfarm.crt"]


async def test_no_engine_is_named(tmp_path: Path, make_context: MakeContext) -> None:
    images = DockerImages(f"unix://{tmp_path}/no.sock", logs=tmp_path / "builds")
    with pytest.raises(BackendUnavailable, match=r"no Docker engine answers at unix://.*no\.sock"):
        await images.build(make_context())
    await images.close()
