"""What tests of several folders share: images, and an engine that is really there."""

from __future__ import annotations

import io
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

ROOT = Path(__file__).parent.parent


def pytest_configure() -> None:
    """Undo what `nohup` and a script's `&` do: children inherit ignored signals, and a shell cannot take them back."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # for us the same; a program that we start gets the default again


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A client of the Docker engine; `make test` starts one where none answers."""
    client = docker.from_env()
    client.ping()
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> Callable[[str], str]:
    """Gives `envfarm/NAME:1` (base, busybox, go, node, rust), made by scripts/images.sh when it is missing."""

    def get(name: str) -> str:
        reference = f"envfarm/{name}:1"
        if not engine.images.list(name=reference):
            subprocess.run([str(ROOT / "scripts/images.sh"), name], check=True, stdin=subprocess.DEVNULL)
        return reference

    return get


@pytest.fixture(scope="session")
def docker_base(image: Callable[[str], str]) -> str:
    """The Debian image that most tests start from."""
    return image("base")


@pytest.fixture(scope="session")
def docker_busybox(image: Callable[[str], str]) -> str:
    """An image with nothing in it but busybox."""
    return image("busybox")


@pytest.fixture(scope="session")
def docker_dash(engine: docker.DockerClient, docker_base: str) -> str:
    """The Debian image without bash, so that its shell is dash."""
    recipe = f'FROM {docker_base}\nRUN rm /bin/bash\nCMD ["sh"]\n'
    engine.images.build(fileobj=io.BytesIO(recipe.encode()), tag="envfarm-tests/dash:1", network_mode="none", rm=True)
    return "envfarm-tests/dash:1"


@pytest.fixture(scope="session")
def gvisor(engine: docker.DockerClient) -> bool:
    """Whether the engine offers gVisor; scripts/gvisor.sh says why when it does not."""
    return "runsc" in (engine.info().get("Runtimes") or {})
