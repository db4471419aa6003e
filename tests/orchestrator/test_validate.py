"""What validation finds out about tasks, played for real on Docker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from envfarm.orchestrator.play import Played, Player
from envfarm.orchestrator.schemas.episodes import Call
from envfarm.orchestrator.validate import Verdict, validate, validate_all
from envfarm.tasks.images import TaskImages
from envfarm.tasks.registry import Registry
from envfarm.tasks.spec import Task
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.errors import BackendUnavailable
from envfarm.toolbox.sandboxes.docker import DockerBackend
from envfarm.toolbox.sandboxes.docker_images import DockerImages

REWARD = "/logs/verifier/reward.txt"
SEPARATE = 'artifacts = ["/work/answer"]\n[verifier]\nenvironment_mode = "separate"\n'
SOUND = {
    "task.toml": SEPARATE,
    "instruction.md": "Write 42 to answer.\n",
    "environment/Dockerfile": "FROM debian:12\nWORKDIR /work\n",
    "tests/test.sh": f'#!/bin/sh\n[ "$(cat answer)" = 42 ] && echo 1 > {REWARD} || echo 0 > {REWARD}\n',
    "solution/solve.sh": "#!/bin/sh\necho 42 > answer\n",
}

Check = Callable[..., Awaitable[Verdict]]


@pytest.fixture
async def player(tmp_path: Path, docker_base: str) -> AsyncIterator[Player]:
    owner = f"tests-{uuid4().hex[:12]}"
    backend = DockerBackend()
    builder = DockerImages(remap={"debian:*": docker_base}, logs=tmp_path / "builds")
    yield Player(backend, TaskImages(builder), Artifacts(tmp_path / "artifacts"), owner=owner)
    await builder.close()
    assert await backend.find(owner) == []
    await backend.close()


def write(folder: Path, files: dict[str, str | None]) -> None:
    for place, text in {**SOUND, **files}.items():
        if text is not None:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_text(text)


@pytest.fixture
def check(tmp_path: Path, player: Player) -> Check:
    """The verdict on a sound task with some of its files changed, or taken away with None."""

    async def run(files: dict[str, str | None], *, repeat: int = 1, wrong: bool = False) -> Verdict:
        write(tmp_path / "tasks" / "it", files)
        return await validate("it", Registry([tmp_path / "tasks"]), player, repeat=repeat, wrong=wrong)

    return run


async def test_a_sound_task(check: Check) -> None:
    files: dict[str, str | None] = {
        "solution/solve.sh": '#!/bin/sh\n. "$(dirname "$0")/answer.sh"\necho $ANSWER > answer\n',
        "solution/answer.sh": "ANSWER=$FROM_TOML\n",
        "task.toml": f"{SEPARATE}[solution.env]\nFROM_TOML = '42'\n",
        "wrong/nearly.sh": '#!/bin/sh\n. "$(dirname "$0")/answer.sh"\necho $((ANSWER + 1)) > answer\n',
    }
    verdict = await check(files, repeat=2, wrong=True)
    assert verdict.json() == {
        "task": "it",
        "kind": "terminal",
        "oracle": 1.0,
        "noop": 0.0,
        "sound": True,
        "why": None,
        "seconds": verdict.seconds,
        "evidence": [],
        "wrong": {"nearly": 0.0},
    }


@pytest.mark.parametrize(
    ("files", "rewards", "why"),
    [
        ({"solution/solve.sh": None}, (None, 0.0), "solution/solve.sh: missing; without it nothing shows"),
        ({"solution/solve.sh": "#!/bin/sh\nexit 3\n"}, (0.0, 0.0), "0, not 1, its output ends with '[exit code 3]'"),
        ({"solution/solve.sh": "#!/no/such/shell\n"}, (0.0, 0.0), "the solution scored 0, not 1"),
        ({"tests/test.sh": f"#!/bin/sh\necho 1 > {REWARD}\n"}, (1.0, 1.0), "doing nothing scored 1, not 0"),
        ({"tests/test.sh": f"#!/bin/sh\necho 0.5 > {REWARD}\n"}, (0.5, 0.5), "doing nothing scored 0.5, not 0"),
        ({"tests/test.sh": "#!/bin/sh\n[ -e answer ] || exit 0\n"}, (None, None), "doing nothing got no reward: "),
        ({"task.toml": "x ="}, (None, None), "task.toml: not valid TOML"),
        ({"tests/test.sh": None}, (None, None), "tests/test.sh: missing; add it"),
        ({"environment/Dockerfile": "FROM debian:12\nRUN exit 7\n"}, (None, None), "Dockerfile: the build failed: "),
        ({"task.toml": "[environment]\ndocker_image = 'a.invalid/a:1'"}, (None, None), "image a.invalid/a:1: not on"),
        ({"task.toml": "[envfarm]\nkind = 'juggling'"}, (None, None), "no environment is called 'juggling'"),
    ],
)  # fmt: skip
async def test_an_unsound_task_says_why(
    check: Check, files: dict[str, str | None], rewards: tuple[float | None, float | None], why: str
) -> None:
    verdict = await check(files)
    assert not verdict.sound
    assert (verdict.oracle, verdict.noop) == rewards
    assert verdict.why is not None
    assert why in verdict.why
    assert "\n" not in verdict.why


async def test_the_full_mark_is_the_tasks_own(check: Check) -> None:
    test = f"#!/bin/sh\n[ -e answer ] && echo 10 > {REWARD} || echo 0 > {REWARD}\n"
    assert (await check({"tests/test.sh": test, "task.toml": f"{SEPARATE}[envfarm]\nfull_mark = 10\n"})).sound
    verdict = await check({"tests/test.sh": test, "task.toml": f"{SEPARATE}[envfarm]\nfull_mark = 11\n"})
    assert verdict.why is not None
    assert "scored 10, not 11" in verdict.why


class Fickle(Player):
    """Makes the calls every other time only."""

    times = 0

    async def play(self, task: Task, calls: Sequence[Call]) -> Played:
        self.times += 1
        return await super().play(task, calls if self.times % 2 else [])


async def test_a_task_that_is_solved_now_and_then_is_not_sound(player: Player, tmp_path: Path) -> None:
    write(tmp_path / "it", {})
    fickle = Fickle(player.backend, player.images, player.artifacts, owner=player.owner)
    verdict = await validate("it", Registry([tmp_path / "it"]), fickle, repeat=2)
    assert verdict.oracle == 0.0
    assert verdict.why is not None
    assert "the solution scored 0, not 1 in 1 of 2 tries" in verdict.why


async def test_a_wrong_solution_that_scores_is_named(check: Check) -> None:
    files: dict[str, str | None] = {"wrong/right.sh": "#!/bin/sh\necho 42 > answer\n", "wrong/no.sh": "#!/bin/sh\n"}
    assert (await check(files)).sound
    verdict = await check(files, wrong=True)
    assert verdict.wrong == {"no": 0.0, "right": 1.0}
    assert verdict.why is not None
    assert verdict.why == "wrong: right scored 1, not 0"
    places = [line.removeprefix("wrong: right: ").partition(": ") for line in verdict.evidence]
    assert {name for name, _, _ in places} >= {"reward.txt"}
    assert all("/artifacts/" in place for _, _, place in places)


async def test_many_are_validated_at_once_and_the_bad_ones_harm_nobody(tmp_path: Path, player: Player) -> None:
    for name, files in {"a": {}, "b": {"task.toml": "x ="}, "c": {}}.items():
        write(tmp_path / "set" / name, {**files})
    stages: list[tuple[str, str]] = []
    registry = Registry([tmp_path / "set"])
    verdicts = {
        verdict.task: verdict.sound
        async for verdict in validate_all(registry, player, jobs=2, report=lambda *stage: stages.append(stage))
    }
    assert verdicts == {"a": True, "b": False, "c": True}
    assert [stage for task, stage in stages if task == "a"] == ["building", "doing nothing", "its solution"]


async def test_without_an_engine_nothing_is_said_about_the_task(tmp_path: Path) -> None:
    write(tmp_path / "it", {})
    url = f"unix://{tmp_path}/no.sock"
    builder = DockerImages(url, logs=tmp_path / "builds")
    player = Player(DockerBackend(url), TaskImages(builder), Artifacts(tmp_path / "artifacts"), owner="tests")
    with pytest.raises(BackendUnavailable, match=r"no\.sock"):
        await validate("it", Registry([tmp_path / "it"]), player)
    await builder.close()
