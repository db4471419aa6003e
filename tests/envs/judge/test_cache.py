"""What was judged once is not paid twice, and anything that could change the answer is another question."""

from __future__ import annotations

from pathlib import Path

from envfarm.envs.judge.cache import Cache, key_of
from envfarm.envs.judge.prompt import Frame
from envfarm.tasks.rubric import Leaf, Rubric

from ...toolbox.chat_server import ChatServer, Says
from .conftest import FRAMES, LEAVES, RUBRIC, MakeJudge
from .pixels import BAD, png, vote


async def test_the_second_time_nobody_is_asked(server: ChatServer, make_judge: MakeJudge, tmp_path: Path) -> None:
    server.script = [Says(vote(LEAVES))]
    first = await make_judge(cache=Cache(tmp_path)).judge(RUBRIC, request="", frames=FRAMES)
    second = await make_judge(cache=Cache(tmp_path)).judge(RUBRIC, request="", frames=FRAMES)
    assert len(server.asked) == 3
    assert second == first.model_copy(update={"cached": True})
    assert [path.suffix for path in _entries(tmp_path)] == [".json"]


async def test_a_damaged_entry_is_asked_again(server: ChatServer, make_judge: MakeJudge, tmp_path: Path) -> None:
    server.script = [Says(vote(LEAVES))]
    judge = make_judge(cache=Cache(tmp_path))
    await judge.judge(RUBRIC, request="", frames=FRAMES)
    _entries(tmp_path)[0].write_text('{"score": ')
    assert not (await judge.judge(RUBRIC, request="", frames=FRAMES)).cached


async def test_a_folder_that_takes_nothing_costs_no_verdict(
    server: ChatServer, make_judge: MakeJudge, tmp_path: Path
) -> None:
    server.script = [Says(vote(LEAVES))]
    (tmp_path / "file").write_text("in the way")
    judge = make_judge(cache=Cache(tmp_path / "file"))
    assert (await judge.judge(RUBRIC, request="", frames=FRAMES)).score == 1.0


def test_whatever_changes_the_answer_is_another_question() -> None:
    other = Rubric(leaves=(Leaf(id="hero", group="visual", statement="A hero."),))
    painted = [Frame(1, 0.0, "first paint", png(BAD)), FRAMES[1]]
    keys = [
        key_of(RUBRIC, "r", FRAMES, None, model="m", votes=3),
        key_of(other, "r", FRAMES, None, model="m", votes=3),
        key_of(RUBRIC, "other", FRAMES, None, model="m", votes=3),
        key_of(RUBRIC, "r", painted, None, model="m", votes=3),
        key_of(RUBRIC, "r", FRAMES[::-1], None, model="m", votes=3),
        key_of(RUBRIC, "r", FRAMES, "text", model="m", votes=3),
        key_of(RUBRIC, "r", FRAMES, None, model="n", votes=3),
        key_of(RUBRIC, "r", FRAMES, None, model="m", votes=5),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == key_of(RUBRIC, "r", FRAMES, None, model="m", votes=3)


def _entries(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
