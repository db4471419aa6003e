"""Python's parser under several threads."""

from __future__ import annotations

import ast
import sys
import threading
from collections.abc import Iterator

import pytest

from envfarm.tasks.python_syntax import parse

SOURCE = "\n".join(f"def f{number}(a, b=[1, (2, {{3: 'x'}})]):\n    return a.b(c)[{number}]\n" for number in range(60))


class Litter:
    """Garbage whose end runs Python, so that threads change in the middle of a parse."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        sum(range(50))


@pytest.fixture
def _restless() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_restless")
def test_threads_that_parse_at_once_all_get_their_trees() -> None:
    done: list[str] = []
    stop = threading.Event()

    def ours() -> None:
        for _ in range(30):
            for _ in range(100):
                Litter()
            done.append(ast.dump(parse(SOURCE)))

    def others() -> None:
        while not stop.is_set():
            try:
                ast.parse(SOURCE)
            except SystemError:
                continue

    threads = [threading.Thread(target=ours) for _ in range(3)]
    rival = threading.Thread(target=others)
    for thread in (*threads, rival):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    rival.join()
    assert len(done) == 90
    assert len(set(done)) == 1


@pytest.mark.parametrize("source", ["def f(:", "\0"])
def test_what_is_no_python_is_told(source: str) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        parse(source)
