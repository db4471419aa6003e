"""The chat client, over the wire: what it sends, what it tries again, and what it raises when that does not help."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from envfarm.toolbox.chat import ChatModel, image_part, text_part
from envfarm.toolbox.endpoint import BadAnswer, Limits, ModelRefused, ModelUnavailable
from envfarm.toolbox.errors import FarmFault

from .chat_server import ChatServer, Says, chat_server

HELLO = [{"role": "user", "content": "hello"}]
QUICK = Limits(timeout=20, attempts=3, pause=0.001)
PNG = b"\x89PNG\r\n\x1a\n and so on"


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with chat_server() as server:
        yield server


async def test_an_answer_with_its_usage(server: ChatServer) -> None:
    async with ChatModel(server.url + "/", "small", "secret", limits=QUICK) as model:
        answer = await model.complete(
            HELLO, temperature=0, max_tokens=5, seed=7, response_format={"type": "json_object"}
        )
    assert (answer.text, answer.finish_reason, answer.usage.total) == ("hello", "stop", 110)
    assert server.keys == ["Bearer secret"]
    assert server.asked == [
        {
            "model": "small",
            "messages": HELLO,
            "temperature": 0,
            "max_tokens": 5,
            "seed": 7,
            "response_format": {"type": "json_object"},
        }
    ]


async def test_tool_calls(server: ChatServer) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}
    server.script = [Says(tool_calls=[call], finish_reason="tool_calls")]
    async with ChatModel(server.url, "small", limits=QUICK) as model:
        answer = await model.complete(HELLO, tools=[{"type": "function", "function": {"name": "bash"}}])
    assert [(one.id, one.name, one.arguments) for one in answer.tool_calls] == [("c1", "bash", '{"command": "ls"}')]
    assert server.keys == [None]


async def test_images_arrive_as_they_are_and_in_order(server: ChatServer) -> None:
    sent = [PNG, b"\xff\xd8\xff jpeg", b"RIFF0000WEBP webp"]
    async with ChatModel(server.url, "small", limits=QUICK) as model:
        await model.complete([{"role": "user", "content": [text_part("look"), *map(image_part, sent)]}])
    assert server.images == [sent]
    assert server.said_to() == "look"
    with pytest.raises(ValueError, match="no PNG, JPEG, WebP or GIF"):
        image_part(b"<svg/>")


@pytest.mark.parametrize(
    "fault",
    [Says(status=429, headers={"Retry-After": "0.01"}), Says(status=503), Says(drop=True)],
    ids=["overloaded", "failing", "dropped"],
)
async def test_what_passes_is_tried_again(server: ChatServer, fault: Says) -> None:
    server.script = [fault, fault, Says("at last")]
    async with ChatModel(server.url, "small", limits=QUICK) as model:
        assert (await model.complete(HELLO)).text == "at last"
    assert len(server.asked) == 3


async def test_what_stalls_is_tried_again(server: ChatServer) -> None:
    server.script = [Says(stall=True), Says("at last")]
    async with ChatModel(server.url, "small", limits=Limits(timeout=0.3, attempts=2, pause=0.001)) as model:
        assert (await model.complete(HELLO)).text == "at last"


async def test_what_does_not_pass_is_a_fault_of_the_farm(server: ChatServer) -> None:
    server.script = [Says(status=500)]
    async with ChatModel(server.url, "small", limits=QUICK) as model:
        with pytest.raises(ModelUnavailable, match=r"status 500: .*no.*\(3 attempts\)") as caught:
            await model.complete(HELLO)
    assert isinstance(caught.value, FarmFault)
    assert len(server.asked) == 3


async def test_the_deadline_counts_the_waiting(server: ChatServer) -> None:
    server.script = [Says(status=429, headers={"Retry-After": "3600"})]
    async with ChatModel(server.url, "small", limits=Limits(deadline=0.3)) as model:
        with pytest.raises(ModelUnavailable, match=r"no answer within 0\.3 s"):
            await model.complete(HELLO)


async def test_nobody_listens(unused_port: int) -> None:
    async with ChatModel(f"http://127.0.0.1:{unused_port}/v1", "small", limits=QUICK) as model:
        with pytest.raises(ModelUnavailable, match="ClientConnectorError"):
            await model.complete(HELLO)


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_wrong_key_is_not_tried_again(server: ChatServer) -> None:
    server.script = [Says(status=401)]
    async with ChatModel(server.url, "small", limits=QUICK) as model:
        with pytest.raises(ModelRefused, match="'small': status 401") as caught:
            await model.complete(HELLO)
    assert not caught.value.retryable
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"choices": []}', b'{"choices": [{"message": "hi"}]}'])
async def test_what_is_no_answer(server: ChatServer, body: bytes) -> None:
    server.script = [Says(body=body)]
    async with ChatModel(server.url, "small", limits=QUICK) as model:
        with pytest.raises(BadAnswer, match="no answer of the chat API"):
            await model.complete(HELLO)


async def test_no_more_calls_at_once_than_allowed(server: ChatServer) -> None:
    server.gate = asyncio.Event()
    async with ChatModel(server.url, "small", limits=Limits(concurrency=2)) as model:
        calls = [asyncio.create_task(model.complete(HELLO)) for _ in range(6)]
        while server.live < 2:
            await asyncio.wait(calls, timeout=0.01)
        server.gate.set()
        await asyncio.gather(*calls)
    assert server.most == 2
    assert len(server.asked) == 6
