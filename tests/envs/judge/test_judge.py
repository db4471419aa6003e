"""The judge over the wire: what its model is sent, and what becomes of good answers and of all others."""

from __future__ import annotations

import hashlib
import json

import pytest

from envfarm.envs.judge.prompt import Frame
from envfarm.toolbox.endpoint import BadAnswer, ModelUnavailable
from envfarm.toolbox.errors import FarmFault

from ...toolbox.chat_server import ChatServer, Says
from .conftest import FRAMES, LEAVES, RUBRIC, MakeJudge
from .pixels import BAD, GOOD, looks, png, vote

YES, NO = vote(LEAVES), vote(LEAVES, answer=False)


async def test_every_vote_gets_all_frames_in_order(server: ChatServer, make_judge: MakeJudge) -> None:
    server.script = [Says(YES)]
    verdict = await make_judge().judge(RUBRIC, request="Build a clock", frames=FRAMES)
    assert (verdict.score, verdict.groups) == (1.0, {"visual": 1.0, "motion": 1.0})
    assert (verdict.model, verdict.calls, verdict.tokens, verdict.cached) == ("tiny-vlm", 3, 330, False)
    assert [leaf.frames for leaf in verdict.leaves] == [(1,), (1,)]
    sent = [hashlib.sha256(frame.data).hexdigest() for frame in FRAMES]
    assert [server.digests(call) for call in range(3)] == [sent] * 3
    assert "Build a clock" in server.said_to()
    assert len({body["seed"] for body in server.asked}) == 3
    assert {body["temperature"] for body in server.asked} == {0}
    assert {body["response_format"]["json_schema"]["strict"] for body in server.asked} == {True}


async def test_the_median_decides_and_weights_count(server: ChatServer, make_judge: MakeJudge) -> None:
    mixed = json.loads(NO)
    mixed["answers"][0]["answer"] = True
    server.script = [Says(YES), Says(NO), Says(json.dumps(mixed))]
    verdict = await make_judge().judge(RUBRIC, request="", frames=FRAMES)
    assert verdict.groups == {"visual": 1.0, "motion": 0.0}
    assert verdict.score == 0.25
    assert sorted(one.answer for one in verdict.leaves[0].votes) == [False, True, True]


async def test_a_bad_page_scores_below_a_good_one(server: ChatServer, make_judge: MakeJudge) -> None:
    """Polarity: the model answers by the pixels, through the real prompt and the real parser."""
    server.script = [looks]
    judge = make_judge()
    good = await judge.judge(RUBRIC, request="", frames=[Frame(1, 0, "end", png(GOOD))])
    bad = await judge.judge(RUBRIC, request="", frames=[Frame(1, 0, "end", png(BAD))])
    assert (good.score, bad.score) == (1.0, 0.0)


@pytest.mark.parametrize(
    "words", ["```json\n{}\n```", "Sure! Here it is:\n{}\nAnything else?"], ids=["fenced", "chatty"]
)
async def test_json_is_found_in_its_wrapping(server: ChatServer, make_judge: MakeJudge, words: str) -> None:
    server.script = [Says(words.replace("{}", YES))]
    assert (await make_judge().judge(RUBRIC, request="", frames=FRAMES)).calls == 3


UNUSABLE = {
    "truncated": Says(YES[:60], finish_reason="length"),
    "cut": Says(YES[:60]),
    "refusing": Says("", refusal="I cannot help with that"),
    "filtered": Says("", finish_reason="content_filter"),
    "words": Says("It looks great, 10/10."),
    "off the scale": Says(YES.replace('"answer": true', '"answer": 7')),
    "not a bool": Says(YES.replace('"answer": true', '"answer": "yes"')),
    "missing leaf": Says(vote(["hero"])),
    "twice": Says(vote(["hero", "clock", "clock"])),
    "unknown leaf": Says(vote(["hero", "clock", "bonus"])),
    "no such frame": Says(vote(LEAVES, frames=[9])),
    "cites nothing": Says(vote(LEAVES, frames=[])),
}


@pytest.mark.parametrize("answer", UNUSABLE.values(), ids=UNUSABLE)
async def test_what_cannot_be_used_is_asked_again(server: ChatServer, make_judge: MakeJudge, answer: Says) -> None:
    server.script = [answer, Says(YES)]
    verdict = await make_judge(votes=1).judge(RUBRIC, request="", frames=FRAMES)
    assert (verdict.score, verdict.calls) == (1.0, 2)
    assert "could not be used" in server.said_to()


@pytest.mark.parametrize("answer", UNUSABLE.values(), ids=UNUSABLE)
async def test_too_few_valid_votes_are_a_fault_of_the_farm(
    server: ChatServer, make_judge: MakeJudge, answer: Says
) -> None:
    server.script = [answer]
    with pytest.raises(BadAnswer, match="0 of 3 votes") as caught:
        await make_judge().judge(RUBRIC, request="", frames=FRAMES)
    assert isinstance(caught.value, FarmFault)


async def test_one_bad_voter_of_three_does_not_matter(server: ChatServer, make_judge: MakeJudge) -> None:
    def by_seed(body: dict[str, int]) -> Says:
        return Says("no JSON") if body["seed"] < 3 else Says(YES)

    server.script = [by_seed]
    verdict = await make_judge().judge(RUBRIC, request="", frames=FRAMES)
    assert (verdict.score, len(verdict.leaves[0].votes)) == (1.0, 2)


@pytest.mark.parametrize("fault", [Says(status=429), Says(status=500), Says(drop=True), Says(stall=True)])
async def test_a_fault_that_passes_costs_nothing(server: ChatServer, make_judge: MakeJudge, fault: Says) -> None:
    server.script = [fault, Says(YES)]
    assert (await make_judge(votes=1).judge(RUBRIC, request="", frames=FRAMES)).score == 1.0


async def test_an_endpoint_that_is_away_is_no_verdict(server: ChatServer, make_judge: MakeJudge) -> None:
    server.script = [Says(status=503)]
    with pytest.raises(ModelUnavailable):
        await make_judge().judge(RUBRIC, request="", frames=FRAMES)


async def test_a_text_is_judged_between_marks_that_it_cannot_know(server: ChatServer, make_judge: MakeJudge) -> None:
    server.script = [Says(vote(LEAVES, frames=[]))]
    verdict = await make_judge().judge(RUBRIC, request="Explain", text="Because of rain.")
    assert verdict.score == 1.0
    mark = hashlib.sha256(b"Because of rain.").hexdigest()[:16]
    assert f"<<<{mark}\nBecause of rain.\n{mark}>>>" in server.said_to()
    assert server.images == [[], [], []]


async def test_a_pages_text_is_scanned_and_not_shown(server: ChatServer, make_judge: MakeJudge) -> None:
    server.script = [Says(YES)]
    await make_judge().judge(RUBRIC, request="", frames=FRAMES, text="Opening hours")
    assert "Opening hours" not in server.said_to()
