"""The questions of the demo: a real corpus, and tasks made of it, on first use and on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from envfarm.orchestrator.settings import Settings
from envfarm.tasks.search.build import build_questions
from envfarm.toolbox.search.corpus import CURRENT, Corpus
from envfarm.toolbox.search.debian import build_corpus
from envfarm.toolbox.search.errors import CorpusError

DEPTHS = (1, 2, 3, 4)
COUNT = 6
_SEED = 7


def with_questions(settings: Settings, say: Callable[[str], None]) -> Settings:
    """Settings that serve the sample corpus and questions made of it, which stay in the data folder.

    A machine without package lists has none of them, and is told so. Raises CorpusError, StorageError.
    """
    corpus = settings.data / "corpus"
    if not (corpus / CURRENT).exists():
        say("corpus: building one of 65,000 documents from Debian's package archive, once (half a minute)")
        try:
            build_corpus(corpus)
        except CorpusError as error:
            say(f"no questions are played: {error}")
            return settings
    with Corpus.open(corpus) as opened:
        version = opened.version
    folder = settings.data / "questions" / version.removeprefix("sha256:")[:12] / "search"
    if not folder.exists():
        say(f"questions: making {COUNT} of the corpus, once (half a minute)")
        build_questions(corpus, COUNT, DEPTHS, _SEED, folder)
    tasks: tuple[Path, ...] = (*settings.tasks, folder.parent)
    return settings.model_copy(update={"corpora": (*settings.corpora, corpus), "tasks": tasks})
