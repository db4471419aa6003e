"""Puts line-ups and canaries into a task's test files: made at grading time, for one run."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from envfarm.envs.canaries.base import Language, Swap, Template
from envfarm.envs.canaries.planted import LineUp, Planted

MAX_PLACES = 25
"""Files that get canaries in one run; those that hold fail-to-pass tests come first."""

_ENOUGH = 8  # words: 1,600 names and more of two to four of them
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass(frozen=True, slots=True)
class Suite:
    """A task's test files: texts by path, with what the ids of a file's tests begin, and the tests that count."""

    language: Language
    files: Mapping[str, str]
    places: Mapping[str, str]
    first: Collection[str]  # the tests that matter most
    tests: Collection[str]  # all that are expected
    helpers: Mapping[str, str] = field(default_factory=dict)  # other files of the tests, with what those inherit
    sources: str = ""  # text of the repository, for its words
    solo: Collection[str] = ()  # tests that pass only once in a process, or only under their own names
    swaps: Mapping[str, Sequence[Swap]] = field(default_factory=dict)  # by test: those that were tried, and fail


def plant(suite: Suite, rng: random.Random, known: Collection[str] = (), *, hard: bool = False) -> Planted:
    """Copies of the test files in which tests stand in line-ups, among canaries.

    Every fail-to-pass test that can be copied is in a line-up, and one other test of each file. Which version bears the
    test's own name, and which stands in its place, is a matter of luck; but tests in `known` are not under their own
    names: what has passed so once must not pass by its name alone. `hard` puts every expected test that can be copied
    into a line-up, under another name and behind a decoy. Raises ValueError when no name is free.
    """
    first = plain(suite.first)
    names = Names(suite, rng)
    planted = Planted(within=suite.language.within, names=names.taken)
    known = {*known, *plain(suite.tests)} if hard else known
    every = pages(suite, names, planted)
    decoys = row(suite, every)
    chosen = sorted(every, key=lambda page: (not page.among(first), page.path))[:MAX_PLACES]
    covered: set[str] = set()
    for page in [page for page in chosen if page.templates]:
        page.canary()
        ours = page.among(first)
        others = [template for template in page.templates if template not in ours]
        for template in ours:
            page.line_up(template, decoys, known, hard=hard)
        for template in others if hard else rng.sample(others, min(1, len(others))):
            page.line_up(template, 1, known, hard=hard)
        planted.files[page.path] = page.written().encode()
        covered.add(page.place)
    for page in chosen:
        if page.place not in covered and any(test.startswith(f"{page.place}::") for test in suite.tests):
            covered.add(page.place)
            _beside(suite, page.path, planted, names)
    return planted


def pages(suite: Suite, names: Names, planted: Planted) -> list[Page]:
    """The files of the expected tests, and those that hold what these inherit."""
    texts = {**suite.files, **suite.helpers}
    heirs = suite.language.inherited(texts, suite.tests)
    homes = {test.partition("::")[0] for test in heirs}
    found = []
    for path, text in texts.items():
        place = suite.places.get(path, path)
        if path in suite.files or place in homes:
            templates = suite.language.templates(place, text, {*suite.tests, *heirs})
            found.append(Page(suite, path, place, text, templates, heirs, names, planted))
    return found


def row(suite: Suite, every: Sequence[Page]) -> int:
    """How many decoys each fail-to-pass test has: with few tests, luck would go far with one."""
    first = plain(suite.first)
    tests = sum(len(page.among(first)) for page in every)
    return 3 if tests == 1 else 2 if tests <= 5 else 1


@dataclass(slots=True)
class Page:
    """One test file as it is written anew."""

    suite: Suite
    path: str
    place: str
    text: str
    templates: list[Template]
    heirs: Mapping[str, list[str]]  # what tests are called in the classes that inherit them
    names: Names
    planted: Planted
    edits: list[tuple[int, int, str]] = field(default_factory=list)  # start, end and what stands there instead

    def ids(self, template: Template, name: str | None = None) -> list[str]:
        """The ids of a test, under another name where one is given."""
        own = [template.test] if template.test not in self.heirs or template.test in self.suite.tests else []
        ids = [*own, *self.heirs.get(template.test, ())]
        return ids if name is None else [test.removesuffix(template.name) + name for test in ids]

    def among(self, tests: Collection[str]) -> list[Template]:
        """The templates of these tests."""
        return [template for template in self.templates if any(test in tests for test in self.ids(template))]

    def line_up(self, template: Template, decoys: int, known: Collection[str], *, hard: bool) -> None:
        """Put a test and its decoys in a random order under random names, one of which is its own."""
        rng = self.names.rng
        if any(test in self.suite.solo for test in self.ids(template)):
            return
        new = [self.names.fresh(self.templates, self.text, template.name) for _ in range(decoys)]
        seen = any(test in known for test in self.ids(template))
        own = 1 if seen else rng.randint(0, decoys)  # which version has the test's own name: 0 is the true one
        names = [template.name if i == own else new.pop() for i in range(decoys + 1)]
        versions = self._versions(template, names)
        if len(versions) < len(names):
            return
        if hard:
            versions.reverse()
        else:
            rng.shuffle(versions)
        self.edits.append((template.start, template.end, versions[0]))
        self.edits += [(at, at, version) for version in versions[1:] for at in [self._after(template)]]
        called = zip(*(self.ids(template, name) for name in names), strict=True)
        for test, ids in zip(self.ids(template), called, strict=True):
            self.planted.lineups.append(LineUp(test, ids[0], ids[1:]))

    def _versions(self, template: Template, names: Sequence[str]) -> list[str]:
        language, rng = self.suite.language, self.names.rng
        source = self.text[template.start : template.end]
        proved = [swap for swap in self.suite.swaps.get(template.test, ()) if len(swap.wrong) == len(names) - 1]
        if proved:
            sources = [source, *rng.choice(proved).decoys(source)]
            return [language.renamed(one, template, name) for one, name in zip(sources, names, strict=True)]
        versions = language.versions(self.text, template, names, rng)
        if versions and versions[0] != language.renamed(source, template, names[0]):
            self.planted.constant.update(self.ids(template))
        return versions

    def constant(self, template: Template, decoys: int) -> bool:
        """Whether a test's decoys can only get a line that fails, since no value of it is sure to be compared with."""
        versions = self.suite.language.versions(self.text, template, [template.name] * (decoys + 1), self.names.rng)
        return bool(versions) and versions[0] != self.text[template.start : template.end]

    def trial(self, template: Template, swap: Swap) -> list[LineUp]:
        """Put copies of a test behind it, one as it is and one for each of a swap's wrong texts."""
        source = self.text[template.start : template.end]
        copies = [source, *swap.decoys(source)]
        names = [self.names.fresh(self.templates, self.text, template.name) for _ in copies]
        for copy, name in zip(copies, names, strict=True):
            self.edits.append((template.end, template.end, self.suite.language.renamed(copy, template, name)))
        called = zip(*(self.ids(template, name) for name in names), strict=True)
        return [LineUp(test, ids[0], ids[1:]) for test, ids in zip(self.ids(template), called, strict=True)]

    def canary(self) -> None:
        """Put a test that must pass among them."""
        template = self.names.rng.choice(self.templates)
        name = self.names.fresh(self.templates, self.text, template.name)
        source = self.text[template.start : template.end]
        at = self._after(template)
        self.edits.append((at, at, self.suite.language.passing(source, template, name, self.names.rng)))
        self.planted.must_pass |= {test: test.partition("::")[0] for test in self.ids(template, name)}

    def written(self) -> str:
        """The file with all that was put into it."""
        text = self.text
        for start, end, version in sorted(self.edits, key=lambda edit: edit[:2], reverse=True):
            if start < end:
                text = text[:start] + version.rstrip() + "\n" + text[end:]
            else:
                text = f"{text[:start].rstrip()}\n\n{version.rstrip()}\n{text[start:]}"
        return text

    def _after(self, template: Template) -> int:
        """The end of a random sibling that does not come before it: what its decorators name is defined there.

        Nothing is given away by that, since any version may be the one that stands in the test's own place.
        """
        scope = template.test.removesuffix(template.name), template.scope
        later = [t for t in self.templates if t.start >= template.start]
        return self.names.rng.choice([t for t in later if (t.test.removesuffix(t.name), t.scope) == scope]).end


def _beside(suite: Suite, path: str, planted: Planted, names: Names) -> None:
    text, place = suite.files[path], suite.places[path]
    one, two = (names.fresh([], text, "") for _ in range(2))
    new, source, fails, passes = suite.language.standalone(path, text, one, two, names.rng)
    planted.files[new] = source.encode()
    for test, group in ((fails, planted.must_fail), (passes, planted.must_pass)):
        group[f"{place}{test}" if test.startswith("::") else test] = place


class Names:
    """Names that no file has, each given once, of words that stand in the tests and in the repository."""

    def __init__(self, suite: Suite, rng: random.Random) -> None:
        self.taken: set[str] = set()
        self.rng = rng
        self._language = suite.language
        self._corpus = "\n".join((*suite.files.values(), *suite.helpers.values()))
        self._far = _words(suite.sources)

    def fresh(self, templates: Sequence[Template], text: str, like: str) -> str:
        """A name of two to four words, mostly of the other tests' names."""
        near = _words(" ".join(template.name for template in templates))
        if len(near) < _ENOUGH:
            near = sorted({*near, *_words(text)}) or ["case"]
        for count in range(1000):
            words = dict.fromkeys(self.rng.sample(near, min(len(near), self.rng.randint(2, 4))))
            chosen = [self.rng.choice(self._far) if self._far and self.rng.random() < 0.3 else word for word in words]
            numbered = count >= 50 or len(near) + len(self._far) < _ENOUGH
            name = self._language.name([*chosen, str(self.rng.randint(2, 999))] if numbered else chosen, like)
            if name not in self.taken and name not in self._corpus:
                self.taken.add(name)
                return name
        raise ValueError("no name is free")


def plain(tests: Collection[str]) -> set[str]:
    """Ids of tests, and those of the functions whose parameters they are."""
    return {test.partition("[")[0] for test in tests} | set(tests)


def _words(text: str) -> list[str]:
    words = {word.lower() for word in _WORDS.findall(text) if 2 < len(word) < 12}
    return sorted(words - {"test", "should"})
