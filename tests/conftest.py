"""What tests of several folders share: images, and an engine that is really there."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import hypothesis
import pytest
from hypothesis import HealthCheck

from envfarm.toolbox.sandboxes.docker_fork import lacking

from .wheel import build

ROOT = Path(__file__).parent.parent


def pytest_configure() -> None:
    """Undo what `nohup` and a script's `&` do (a shell cannot take ignored signals back), and let no test be timed."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # for us the same; a program that we start gets the default again
    # Its own times are no assertions of ours: a slow machine is no failure.
    hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    hypothesis.settings.load_profile("untimed")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of one megabyte."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A client of the Docker engine; `make test` starts one where none answers."""
    client = docker.from_env()
    client.ping()
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> Callable[[str], str]:
    """Gives `envfarm/NAME:1` (base, go, renderer and others), made by scripts/images.sh when it is missing."""

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


class Engine:
    """A `dockerd` of a test's own, in namespaces of its own: its end ends all that it started, and no more."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.url = f"unix://{folder}/docker.sock"
        (folder / "daemon.json").write_text(json.dumps(dict(config)))
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
             "dockerd", f"--host={self.url}",
             f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid",
             "--bridge=none", "--iptables=false", f"--config-file={folder}/daemon.json"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
        )  # fmt: skip
        for _ in range(600):  # a busy machine takes its time; an engine that gave up is noticed at once
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(f"{folder}/docker.sock")
                probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                if b"200 OK" in probe.recv(100):
                    return
            time.sleep(0.1)
        self.kill()
        pytest.fail(f"no second engine: {(folder / 'log').read_text()[-1000:]}")

    def kill(self) -> None:
        """End it without warning, by the process that was started here."""
        self._process.kill()
        self._process.wait()
        self._log.close()


@pytest.fixture(scope="session")
def start_engine(engine: docker.DockerClient) -> Iterator[Callable[..., Engine]]:
    """Starts second engines with images of the first one; keywords are their configuration."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a second engine")
    with contextlib.ExitStack() as stack:

        def start(*images: str, **config: Any) -> Engine:
            folder = Path(
                tempfile.mkdtemp(prefix="engine-", dir="/tmp")
            )  # short: a socket's path has at most 107 bytes
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            private = Engine(folder, config)
            stack.callback(private.kill)
            with contextlib.closing(docker.DockerClient(private.url)) as client:
                for image in images:
                    client.images.load(engine.images.get(image).save(named=True))
            return private

        yield start


@dataclass(frozen=True)
class Cluster:
    """A Kubernetes cluster that is really there; where it is our own, its programs can be killed and started again."""

    kubeconfig: Path
    registry: str  # host:port where nodes pull from, the same from here
    gvisor: bool  # whether the RuntimeClass gvisor is there
    programs: tuple[str, ...]  # what can be killed: none where the cluster is somebody else's
    pushed: set[str] = field(default_factory=set)  # no test makes an image anew that it has pushed

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl; its standard output."""
        return _script("scripts/cluster.sh", "kubectl", *arguments, stdin=stdin, KUBECONFIG=str(self.kubeconfig))

    def push(self, image: str) -> str:
        """Bring an image from the engine into the registry; the name under which a pod finds it."""
        if image not in self.pushed:
            _script("scripts/cluster.sh", "push", image, KUBECONFIG=str(self.kubeconfig))
            self.pushed.add(image)
        return f"{self.registry}/{image}"

    def pin(self, image: str) -> str:
        """Push an image as it is now; its name by digest, for a node keeps what it once had by another."""
        self.pushed.discard(image)
        name = self.push(image).rpartition(":")[0]
        about = subprocess.run(["docker", "image", "inspect", image], check=True, capture_output=True).stdout
        digests: list[str] = json.loads(about)[0]["RepoDigests"]
        return next(one for one in digests if one.startswith(f"{name}@"))

    def kill(self, program: str) -> None:
        """End a program (etcd, containerd, apiserver, controllers, scheduler, kubelet, proxy, dns) with SIGKILL."""
        _script("scripts/cluster.sh", "kill", program)

    def start(self, program: str) -> None:
        """Start a program again and wait until it works."""
        _script("scripts/cluster.sh", "start", program)


def _script(script: str, *arguments: str, stdin: str = "", **env: str) -> str:
    done = subprocess.run(
        [str(ROOT / script), *arguments], input=stdin, env={**os.environ, **env}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster of `make cluster`, started when none answers: its script lets one start it and others wait."""
    found = dict(word.split("=", 1) for word in shlex.split(_script("scripts/cluster.sh"), comments=False))
    programs = tuple(found.get("PROGRAMS", "").split())
    return Cluster(Path(found["KUBECONFIG"]), found["REGISTRY"], found["GVISOR"] == "yes", programs)


@pytest.fixture(scope="session")
def forking(
    engine: docker.DockerClient, gvisor: bool, docker_base: str, docker_busybox: str, request: pytest.FixtureRequest
) -> str | None:
    """The URL of an engine that can fork sandboxes: None for the usual one, else a second one's with its images."""
    if not gvisor:
        pytest.skip("the engine offers no gVisor; scripts/gvisor.sh says why")
    info = engine.info()
    if lacking(info) is None:
        return None
    start = request.getfixturevalue("start_engine")
    runtimes = {"runsc": {"path": info["Runtimes"]["runsc"]["path"]}}
    return str(start(docker_base, docker_busybox, experimental=True, runtimes=runtimes).url)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install envfarm` would get."""
    return build(tmp_path_factory.mktemp("wheel"))
