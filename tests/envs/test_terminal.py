"""Terminal tasks on Docker: how they start, what their tests get to see, and what a reward is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from envfarm.envs.base import Reward, environment
from envfarm.envs.harbor import agent_spec, verifier_spec
from envfarm.envs.terminal import TerminalEnvironment
from envfarm.orchestrator.play import Played, Player
from envfarm.orchestrator.schemas.episodes import Call
from envfarm.tasks.folder import load
from envfarm.tasks.images import TaskImages
from envfarm.tasks.spec import Task
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.errors import SandboxError, SandboxStartError, TaskError
from envfarm.toolbox.sandboxes.docker_images import DockerImages

from .conftest import Place

DOCKERFILE = """
FROM debian:12
RUN useradd -m agent && mkdir -p /srv/work/old && echo keep > /srv/work/old/a && echo keep > /srv/work/old/b
WORKDIR /srv/work
"""
ANSWER = '[ "$(cat answer.txt)" = 42 ] && echo 1 > /logs/verifier/reward.txt || echo 0 > /logs/verifier/reward.txt'

Play = Callable[..., Awaitable[Played]]
MakeTask = Callable[..., Task]


@pytest.fixture
def make_task(tmp_path: Path) -> MakeTask:
    """Writes a task folder: `test` is the body of its test.sh, `toml` its task.toml, `files` more of its files."""

    def make(test: str = ANSWER, toml: str = "", files: dict[str, str] | None = None) -> Task:
        folder = tmp_path / "task"
        written = {
            "task.toml": toml,
            "instruction.md": "Write 42 to answer.txt.\n",
            "environment/Dockerfile": DOCKERFILE,
            "tests/test.sh": f"#!/bin/bash\n{test}\n",
            **(files or {}),
        }
        for name, text in written.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return load(folder, id="test/terminal")

    return make


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


@pytest.fixture
async def play(place: Place, tmp_path: Path, docker_base: str, artifacts: Artifacts) -> AsyncIterator[Play]:
    """Plays bash commands on a task and scores what they left."""
    images = TaskImages(place.builder(DockerImages(remap={"debian:*": docker_base}, logs=tmp_path / "logs")))
    backend = place.backend()
    player = Player(backend, images, artifacts, owner="test-terminal")

    async def play(task: Task, *commands: str) -> Played:
        return await player.play(task, [Call(name="bash", arguments={"command": command}) for command in commands])

    yield play
    await backend.close()


def evidence(artifacts: Artifacts, reward: Reward, name: str) -> str:
    return artifacts.get(reward.evidence[name]).decode()


def test_terminal_is_a_kind_of_environment(make_task: MakeTask) -> None:
    env = environment("terminal")
    task = make_task()
    assert isinstance(env, TerminalEnvironment)
    assert [tool.name for tool in env.tools(task)] == ["bash", "str_replace", "finish"]
    assert [message.model_dump() for message in env.messages(task)] == [
        {"role": "user", "content": "Write 42 to answer.txt.\n"}
    ]


@pytest.mark.parametrize(
    ("commands", "value"), [(["echo 42 > answer.txt"], 1.0), (["echo 41 > answer.txt"], 0.0), ([], 0.0)]
)
async def test_the_tests_decide(
    play: Play, make_task: MakeTask, artifacts: Artifacts, commands: list[str], value: float
) -> None:
    reward = (await play(make_task("echo checked; echo oh >&2; " + ANSWER), *commands)).reward
    assert (reward.value, reward.reason) == (value, None)
    assert evidence(artifacts, reward, "test_log").startswith("checked\noh\n")
    assert evidence(artifacts, reward, "reward.txt") == f"{value:.0f}\n"


async def test_named_parts_come_from_reward_json(play: Play, make_task: MakeTask) -> None:
    task = make_task("""echo '{"reward": 0.5, "speed": 3, "name": "x"}' > /logs/verifier/reward.json""")
    reward = (await play(task)).reward
    assert (reward.value, reward.parts) == (0.5, {"speed": 3.0})


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("exit 0", "the tests wrote neither reward.json nor reward.txt (test.sh left with exit code 0)"),
        ("echo broken > /logs/verifier/reward.txt; exit 3", "reward.txt is not a number: 'broken' (test.sh left with"),
        ("ln -s /etc/hostname /logs/verifier/reward.txt", "the tests wrote neither"),
    ],
)
async def test_tests_without_a_reward_are_an_error_and_not_0(
    play: Play, make_task: MakeTask, test: str, reason: str
) -> None:
    reward = (await play(make_task(test))).reward
    assert reward.value is None
    assert (reward.reason or "").startswith(reason)
    assert "test_log" in reward.evidence


async def test_the_exit_code_of_the_tests_is_ignored(play: Play, make_task: MakeTask) -> None:
    assert (await play(make_task("echo 1 > /logs/verifier/reward.txt; exit 7"))).reward.value == 1.0


async def test_tests_that_hang_give_no_reward(play: Play, make_task: MakeTask) -> None:
    task = make_task("echo 1 > /logs/verifier/reward.txt; sleep 600", "[verifier]\ntimeout_sec = 1")
    reward = (await play(task)).reward
    assert (reward.value, reward.reason) == (None, "the tests did not end within 1 s")


async def test_a_reward_that_comes_after_the_tests_does_not_count(play: Play, make_task: MakeTask) -> None:
    late = "setsid sh -c 'while :; do sleep 0.2; echo 1 > /logs/verifier/reward.json; done'"
    test = f"{late} & echo 0 > /logs/verifier/reward.txt"
    assert (await play(make_task(test))).reward.value == 0.0


SEEN = r"""
cd /srv/work
{ stat -c '%a %u:%g %n' tool link fifo old new empty 2>&1; cat tool; readlink link; ls old new; ls -A empty
  stat -c %h pair; cmp pair other && echo same; cat "odd
name"; id -u friend; cat /var/spool/cron/crontabs/agent; ls /tmp/scratch; } > /logs/verifier/seen.txt 2>&1
cat /logs/verifier/seen.txt; echo 1 > /logs/verifier/reward.txt
"""


@pytest.mark.parametrize("isolation", ["runc", "gvisor"])
async def test_the_tests_see_the_agents_files_as_it_left_them(
    play: Play, make_task: MakeTask, artifacts: Artifacts, gvisor: bool, isolation: str
) -> None:
    if isolation == "gvisor" and not gvisor:
        pytest.skip("the engine has no gVisor; scripts/gvisor.sh adds it")
    commands = [
        "echo tool > tool; chown agent:12 tool; chmod 4750 tool; chmod 2755 .",
        "ln -s /nowhere link; mkfifo fifo; rm old/a; echo changed > old/b; touch -d 2001-01-01 old/b",
        "mkdir new empty; echo x > new/x; echo p > pair; ln pair other; printf odd > 'odd\nname'",
        "useradd -u 1234 friend; cd /var/spool; mkdir -p cron/crontabs; echo '* * * * * x' > cron/crontabs/agent",
        "mkdir /tmp/scratch; echo y > /tmp/scratch/y",
    ]
    reward = (await play(make_task(SEEN, f'[envfarm]\nisolation = "{isolation}"'), *commands)).reward
    log = evidence(artifacts, reward, "test_log")
    assert "4750 1000:12 tool\n" in log
    assert "777 0:0 link\n" in log
    assert "644 0:0 fifo\n" in log
    assert "\ntool\n/nowhere\n" in log
    assert "\nold:\nb\n\nnew:\nx\n" in log or "\nnew:\nx\n\nold:\nb\n" in log
    assert "\n2\nsame\nodd1234\n* * * * * x\ny\n" in log


async def test_a_folder_that_became_a_link_is_one_for_the_tests(
    play: Play, make_task: MakeTask, artifacts: Artifacts
) -> None:
    task = make_task("readlink old; cat old/b; echo 1 > /logs/verifier/reward.txt")
    reward = (await play(task, "mv old /data && ln -s /data old")).reward
    assert evidence(artifacts, reward, "test_log") == "/data\nkeep\n"


async def test_what_is_not_carried_is_told(play: Play, make_task: MakeTask, artifacts: Artifacts) -> None:
    test = "ls -l /usr/bin/curl; cat ~/.bashrc; echo 1 > /logs/verifier/reward.txt"
    commands = ["echo mine > /usr/bin/curl", "echo mine > /root/.bashrc"]
    plain = (await play(make_task(test), *commands)).reward
    assert set(json.loads(evidence(artifacts, plain, "not_carried"))) == {"/usr/bin/curl", "/root/.bashrc"}
    assert "mine" not in evidence(artifacts, plain, "test_log")
    named = make_task(test, '[envfarm]\ncarry = ["/root/.bashrc"]')
    allowed = (await play(named, *commands)).reward
    assert set(json.loads(evidence(artifacts, allowed, "not_carried"))) == {"/usr/bin/curl"}
    assert "mine" in evidence(artifacts, allowed, "test_log")


async def test_more_than_the_limit_of_changes_earns_nothing(
    play: Play, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envfarm.envs.take.CARRY_LIMIT", 1 << 20)
    monkeypatch.setattr("envfarm.envs.terminal.CARRY_LIMIT", 1 << 20)
    reward = (await play(make_task(), "echo 42 > answer.txt; head -c 2000000 /dev/urandom > big")).reward
    assert (reward.value, reward.reason) == (0.0, "the agent left more than 1 MiB of changes behind")


async def test_the_tests_run_as_root_in_the_working_directory_with_the_tasks_environment(
    play: Play, make_task: MakeTask, artifacts: Artifacts
) -> None:
    toml = """
[agent]
user = "agent"
[environment]
workdir = "/srv/work/old"
env = { WHO = "environment" }
[verifier]
env = { ONLY = "verifier" }
"""
    test = "id -un; pwd; echo $WHO $ONLY; stat -c '%a %U' /tests /logs/verifier; echo 1 > /logs/verifier/reward.txt"
    played = await play(make_task(test, toml), "id -un; pwd; echo $WHO $ONLY; touch /logs/agent/x /logs/artifacts/y")
    assert played.results[0].content == "agent\n/srv/work/old\nenvironment\n"
    log = evidence(artifacts, played.reward, "test_log")
    assert log == "root\n/srv/work/old\nenvironment verifier\n700 root\n700 root\n"


async def test_the_tests_may_run_as_another_user(play: Play, make_task: MakeTask, artifacts: Artifacts) -> None:
    task = make_task("id -un; echo 1 > /logs/verifier/reward.txt", '[verifier]\nuser = "agent"')
    reward = (await play(task)).reward
    assert evidence(artifacts, reward, "test_log") == "agent\n"
    assert reward.value == 1.0


SEPARATE = """
artifacts = ["/srv/work/out", "/srv/work/old", {source = "/srv/work/src", exclude = ["*.o"]}]
[verifier]
environment_mode = "separate"
"""


async def test_a_separate_verifier_gets_the_declared_artefacts_and_nothing_else(
    play: Play, make_task: MakeTask, artifacts: Artifacts
) -> None:
    listed = "find /srv/work /logs/artifacts -type f | sort; stat -c '%a %u' out/x; ls /verifier"
    test = f"{listed}; echo 1 > /logs/verifier/reward.txt"
    files = {"tests/Dockerfile": "ARG BASE\nFROM $BASE\nRUN mkdir /verifier && touch /verifier/tool\n"}
    commands = [
        "mkdir out src; echo x > out/x; chmod 640 out/x; chown agent out/x; echo o > src/a.o; echo c > src/a.c",
        "rm -r old; echo stray > stray; echo r > /logs/artifacts/r",
    ]
    reward = (await play(make_task(test, SEPARATE, files), *commands)).reward
    assert evidence(artifacts, reward, "test_log") == (
        "/logs/artifacts/r\n/srv/work/out/x\n/srv/work/src/a.c\n640 1000\ntool\n"
    )
    assert reward.value == 1.0


async def test_a_relative_artefact_is_a_mistake_of_the_task(play: Play, make_task: MakeTask) -> None:
    task = make_task(toml='artifacts = ["out"]\n[verifier]\nenvironment_mode = "separate"')
    with pytest.raises(TaskError, match="'out' must be an absolute path"):
        await play(task)


LIVE = '[envfarm]\nservices_survive = true\n[agent]\nuser = "agent"\n'
SERVICE = """python3 - <<'E'
import http.server, os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2): os.dup2(null, fd)
        http.server.HTTPServer(("127.0.0.1", 8080), http.server.SimpleHTTPRequestHandler).serve_forever()
    os._exit(0)
E
for _ in $(seq 50); do curl -s http://127.0.0.1:8080/ >/dev/null && break; sleep 0.1; done"""
ASKS = "curl -sf http://127.0.0.1:8080/ >/dev/null && r=1 || r=0; echo $r > /logs/verifier/reward.txt"


@pytest.mark.parametrize(("toml", "value"), [(LIVE, 1.0), ("", 0.0)])
async def test_services_live_only_where_the_task_says_so(
    play: Play, make_task: MakeTask, toml: str, value: float
) -> None:
    assert (await play(make_task(ASKS, toml), SERVICE)).reward.value == value


@pytest.mark.parametrize("user", ["", 'user = "root"', "user = 0", 'user = "0:0"', 'user = "00"'])
def test_services_of_a_root_agent_cannot_be_trusted(make_task: MakeTask, user: str) -> None:
    with pytest.raises(TaskError, match=r"services_survive needs \[agent\] user"):
        make_task(ASKS, f"[envfarm]\nservices_survive = true\n[agent]\n{user}")


@pytest.mark.parametrize(("answer", "value"), [("42", 1.0), ("41", 0.0)])
async def test_an_image_with_nothing_but_busybox_is_scored_too(
    play: Play, make_task: MakeTask, artifacts: Artifacts, docker_busybox: str, answer: str, value: float
) -> None:
    toml = f'[environment]\ndocker_image = "{docker_busybox}"\nworkdir = "/tmp"'
    test = f"#!/bin/sh\nls; cat 'a b'; {ANSWER}"
    task = make_task(toml=toml, files={"tests/test.sh": test})
    commands = [
        f"echo {answer} > answer.txt; echo spaces > 'a b'",
        "i=0; while [ $i -lt 3000 ]; do : > n$i; i=$((i+1)); done",
    ]
    reward = (await play(task, *commands)).reward
    assert reward.value == value
    log = evidence(artifacts, reward, "test_log")
    assert "\nn2999\n" in log
    assert "\nspaces\n" in log


async def test_an_image_without_tar_is_no_reward_of_0(play: Play, make_task: MakeTask, docker_base: str) -> None:
    dockerfile = "FROM debian:12\nRUN rm /bin/tar && printf '#!/bin/sh\\nexit 1\\n' > /bin/tar && chmod +x /bin/tar\n"
    task = make_task("echo 0 > /logs/verifier/reward.txt", files={"environment/Dockerfile": dockerfile})
    with pytest.raises(SandboxError, match="could take the agent's work"):
        await play(task)


@pytest.mark.parametrize(
    ("command", "healthy"),
    [("test -e /tmp/ready || { touch /tmp/ready; false; }", True), ("echo ill >&2; false", False)],
)
async def test_the_health_check_is_awaited(play: Play, make_task: MakeTask, command: str, healthy: bool) -> None:
    toml = f"[environment.healthcheck]\ncommand = '''{command}'''\ninterval_sec = 0.1\nretries = 3"
    task = make_task(toml=toml)
    if healthy:
        assert (await play(task, "echo 42 > answer.txt")).reward.value == 1.0
    else:
        with pytest.raises(SandboxStartError, match="health check failed 3 times in a row; the last said: ill"):
            await play(task)


@pytest.mark.parametrize(
    ("toml", "agent", "verifier"),
    [
        ("", "none", "none"),
        ('[environment]\nnetwork_mode = "public"', "public", "none"),
        ("[environment]\nallow_internet = true", "public", "none"),
        ("[environment]\nallow_internet = false", "none", "none"),
        ('[environment]\nnetwork_mode = "public"\n[agent]\nnetwork_mode = "no-network"', "none", "none"),
        ('[verifier]\nnetwork_mode = "public"', "none", "public"),
        ('[verifier.environment]\nnetwork_mode = "public"', "none", "public"),
    ],
)
def test_a_sandbox_reaches_nothing_unless_its_task_asks(
    make_task: MakeTask, toml: str, agent: str, verifier: str
) -> None:
    task = make_task(toml=toml)
    assert (agent_spec(task, "x").network, verifier_spec(task, "x").network) == (agent, verifier)
