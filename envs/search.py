"""Search tasks: a question that takes several documents of a fixed corpus, found with `search`, `open` and `find`."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection

from envfarm.envs.answers import LONGEST, correct
from envfarm.envs.base import Images, Message, Reward, ScoreContext
from envfarm.envs.harbor import agent_spec
from envfarm.tasks.search.question import Question, load
from envfarm.tasks.spec import SearchTable, Task
from envfarm.toolbox.sandboxes.base import Sandbox, SandboxSpec
from envfarm.toolbox.tools.base import Tool
from envfarm.toolbox.tools.bash import Bash
from envfarm.toolbox.tools.find import Find
from envfarm.toolbox.tools.finish import Finish
from envfarm.toolbox.tools.open import Open
from envfarm.toolbox.tools.pages import Pages
from envfarm.toolbox.tools.search import Search

SYSTEM = (
    "You answer a question from a fixed collection of documents, through the tools. The answer is what these documents "
    "say. Call finish with the answer alone, as short as it can be; you may cite the documents that it follows from "
    f"behind it, each as 【id】. An answer of more than {LONGEST} characters counts as none."
)
_CITED = re.compile(r"【([^【】]{1,200})】")


class SearchEnvironment:
    """The agent's own words never decide what it read: the farm knows which documents were opened."""

    kind = "search"

    def tools(self, task: Task) -> list[Tool]:
        """Those that the task names, and `finish`."""
        table = _table(task)
        known: dict[str, Tool] = {
            "search": Search(table.corpus),
            "open": Open(table.corpus),
            "find": Find(table.corpus),
            "bash": Bash(),
        }
        return [*(known[name] for name in table.tools), Finish()]

    def messages(self, task: Task) -> list[Message]:
        """How to answer, and the question."""
        return [Message(role="system", content=SYSTEM), Message(role="user", content=task.instruction.strip())]

    async def spec(self, task: Task, images: Images) -> SandboxSpec | None:
        """None, but for tasks that offer `bash`."""
        if "bash" not in _table(task).tools:
            return None
        return agent_spec(task, await images.agent(task))

    async def start(self, task: Task, sandbox: Sandbox) -> None:
        """Nothing: the image is the start."""

    def needs_sandbox(self, task: Task) -> bool:
        """What counts is the answer."""
        return False

    async def collect(self, task: Task, context: ScoreContext) -> dict[str, str]:
        """Nothing: the answer and the pages are the farm's own record."""
        return {}

    async def score(self, task: Task, context: ScoreContext) -> Reward:
        """1 for the expected answer, else 0; the parts say what was read on the way. Raises TaskError."""
        question = load(task.path)
        pages = Pages.of(context.state)
        answer, cited = _split(context.answer or "")
        right = correct(answer, question)
        parts = {
            "correct": float(right),
            "format": float(0 < len(answer) <= LONGEST and "\n" not in answer),
            "calls": float(pages.calls),
            **_overlap("evidence", pages.opened, question),
            **_overlap("citation", cited, question),
        }
        about = {"corpus": question.corpus, "answer": context.answer, "opened": pages.opened, "cited": cited}
        report = json.dumps(about | {"gold": question.gold}, indent=1, ensure_ascii=False).encode("utf-8", "replace")
        digest = await asyncio.to_thread(context.artifacts.put, report)
        return Reward(value=float(right), parts=parts, evidence={"answer": digest}, reason=_reason(answer, right))


def _table(task: Task) -> SearchTable:
    table = task.config.envfarm.search
    assert table is not None  # envfarm.tasks.kinds sees to it
    return table


def _split(answer: str) -> tuple[str, list[str]]:
    """An answer without its citations, and these."""
    cited = list(dict.fromkeys(found.strip() for found in _CITED.findall(answer)))
    return _CITED.sub(" ", answer).strip(), cited


def _overlap(name: str, seen: Collection[str], question: Question) -> dict[str, float]:
    """How much of the gold documents was seen, and how much of what was seen is gold; 0 where there is nothing."""
    gold, found = set(question.gold), set(seen)
    both = len(gold & found)
    return {
        f"{name}_recall": both / len(gold) if gold else 0.0,
        f"{name}_precision": both / len(found) if found else 0.0,
    }


def _reason(answer: str, right: bool) -> str | None:
    if right:
        return None
    if not answer:
        return "there is no answer"
    if len(answer) > LONGEST:
        return f"the answer has {len(answer)} characters, and at most {LONGEST} are read"
    return f"{answer[:80]!r} is not the answer"


ENVIRONMENT = SearchEnvironment
