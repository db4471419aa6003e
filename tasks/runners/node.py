"""JavaScript: `node --test` files, mocha, jest and tape. An id is `test/foo.js::suite > name`."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from envfarm.tasks.runners.base import Outcome, Tally, broken, files_of, parts_of

_FILE = "# envfarm: file "  # begins one file's part of a report of ours
_FOLDER = "# envfarm: folder "  # tells where the repository lay, for reports with absolute paths
_POINT = re.compile(r"^( *)(not )?ok \d+(?: -)? ?(.*)$")
_SUBTEST = re.compile(r"^( *)# Subtest: (.*)$")
_DIRECTIVE = re.compile(r"^(.*?)(?:^| )# (SKIP|TODO)\b.*$", re.I)
_PLAN = re.compile(r"^( *)1\.\.\d+")
_TEST_FILE = re.compile(r"(^|[.\-_])(test|tests|spec)\.[cm]?[jt]sx?$")


class _JavaScript:
    protected: tuple[str, ...] = (
        ".mocharc*",
        "jest.config.*",
        "jest.setup.*",
        ".babelrc*",
        "babel.config.*",
        ".taprc",
        ".nycrc*",
        ".npmrc",
        ".env",
        "node_modules",
        "test/mocha.opts",
    )
    env: Mapping[str, str] = {"NO_COLOR": "1", "FORCE_COLOR": "0", "NODE_OPTIONS": "", "CI": "1"}

    def is_test(self, path: str) -> bool:
        """*.test.js and *.spec.js in all spellings, test.js, and what lies in a test folder."""
        *folders, file = parts_of(path)
        return bool(_TEST_FILE.search(file)) or any(
            folder in ("test", "tests", "__tests__", "__mocks__", "spec", "__snapshots__") for folder in folders
        )

    def paths(self, ids: Sequence[str]) -> list[str]:
        """The files that the ids name."""
        return files_of(ids)

    def agrees(self, outcomes: Mapping[str, Outcome], exit_code: int) -> bool:
        """0: all passed; anything else: some failed (mocha counts them)."""
        return bool(outcomes) and broken(outcomes) == (exit_code != 0)


class _Tap(_JavaScript):
    """Runs each file in a process of its own and joins their TAP, each part headed by its file."""

    _run: ClassVar[str]  # runs "$file" and leaves its TAP in "$part"
    _find = (
        r"find . -name node_modules -prune -o -type f \( -path '*/test/*.js' -o -path '*/test/*.mjs' "
        r"-o -name '*.test.js' -o -name '*.test.mjs' -o -name test.js \) -print | sed 's,^\./,,' | LC_ALL=C sort"
    )

    def command(self, paths: Sequence[str], report: str) -> str:
        """One shell loop; the exit status is 1 when any file's was not 0."""
        each = " ".join(map(shlex.quote, paths))
        start = f"set -- {each}" if paths else f"IFS='\n'; set -f; set -- $({self._find})"
        return (
            f"report={shlex.quote(report)}; part=$report.part; status=0; {start}; : > $report; "
            f'for file in "$@"; do {self._run} || status=1; printf \'\\n{_FILE}%s\\n\' "$file" >> $report; '
            "cat $part >> $report; rm -f $part; done; (exit $status)"
        )

    def parse(self, report: bytes) -> Mapping[str, Outcome]:
        """A file whose TAP has no plan was cut short, and is an error under its own name."""
        text = report.decode(errors="replace")
        if _FILE not in text:
            raise ValueError("not a report of ours: it names no file")
        outcomes = Tally()
        for part in f"\n{text}".split(f"\n{_FILE}")[1:]:
            file, _, tap = part.partition("\n")
            lines = list(_without_yaml(tap))
            for name, outcome in self._points(lines):
                outcomes.add(f"{file}::{name}", outcome)
            if not any((match := _PLAN.match(line)) and not match[1] for line in lines):
                outcomes[file] = "error"
        return outcomes

    def _points(self, lines: list[str]) -> Iterator[tuple[str, Outcome]]:
        """Each test's name and outcome, from the TAP of one file."""
        return iter(())


class Node(_Tap):
    """Files of `node:test`, run by node itself."""

    name = "node"
    _run = 'node --test-reporter=tap --test-reporter-destination="$part" "$file"'

    def _points(self, lines: list[str]) -> Iterator[tuple[str, Outcome]]:
        """Leaves only: a suite fails with its tests, and counts by itself when none of them failed."""
        names: dict[int, str] = {}
        children: dict[int, list[Outcome]] = {}
        for line in lines:
            if match := _SUBTEST.match(line):
                names[len(match[1]) // 4] = match[2]
            elif match := _POINT.match(line):
                level = len(match[1]) // 4
                below = children.pop(level + 1, [])
                name, outcome = _point(match)
                children.setdefault(level, []).append(outcome)
                if not below or (outcome == "failed" and "failed" not in below):
                    yield " > ".join([*(names.get(i, "") for i in range(level)), name]), outcome


class Tape(_Tap):
    """Files that print TAP when node runs them; a test is what tape heads with a comment, its assertions together."""

    name = "tape"
    _run = 'node "$file" > "$part"'

    def _points(self, lines: list[str]) -> Iterator[tuple[str, Outcome]]:
        name = ""
        for line in lines:
            if _PLAN.match(line):
                return
            if line.startswith("# "):
                name = line[2:]
            elif match := _POINT.match(line):
                yield name, _point(match)[1]


class Mocha(_JavaScript):
    """mocha's JSON reporter, written to a file by mocha 9.2 and later and to stdout by older ones."""

    name = "mocha"

    def command(self, paths: Sequence[str], report: str) -> str:
        """The folder's mocha, else the one on the PATH."""
        where = " ".join(map(shlex.quote, paths))
        return (
            f"report={shlex.quote(report)}; mocha=./node_modules/.bin/mocha; [ -x $mocha ] || mocha=mocha; "
            f"$mocha --no-bail --reporter json --reporter-option output=$report.part {where} > $report.out; status=$?; "
            f"{{ printf '{_FOLDER}%s\\n' \"$PWD\"; if [ -s $report.part ]; then cat $report.part; "
            "else cat $report.out; fi; } > $report; (exit $status)"
        )

    def parse(self, report: bytes) -> Mapping[str, Outcome]:
        """Read the JSON object that has `stats`; what the tests printed before it is passed over.

        There is none, and no test is named, when a file could not be loaded.
        """
        folder, text = _opened(report)
        match = re.search(r'^\{\s*"stats"', text, re.M)
        data = _json(text[match.start() :]) if match else {}
        groups: tuple[tuple[str, Outcome], ...] = (("passes", "passed"), ("failures", "failed"), ("pending", "skipped"))
        outcomes = Tally()
        for group, outcome in groups:
            for entry in _objects(data, group):
                outcomes.add(f"{_text(entry, 'file').removeprefix(folder)}::{_text(entry, 'fullTitle')}", outcome)
        return outcomes

    def agrees(self, outcomes: Mapping[str, Outcome], exit_code: int) -> bool:
        """As for the others, and 1 without any outcome: a file could not be loaded."""
        return super().agrees(outcomes, exit_code) or (not outcomes and exit_code == 1)


class Jest(_JavaScript):
    """jest's `--json --outputFile`."""

    name = "jest"

    def command(self, paths: Sequence[str], report: str) -> str:
        """The folder's jest, else the one on the PATH, in this process and without its cache."""
        where = " ".join(map(shlex.quote, paths))
        return (
            f"report={shlex.quote(report)}; jest=./node_modules/.bin/jest; [ -x $jest ] || jest=jest; "
            f"$jest --ci --bail=0 --json --outputFile=$report.part --cacheDirectory=$report.cache --runInBand "
            f"{'--runTestsByPath ' if paths else ''}{where}; status=$?; "
            f"{{ printf '{_FOLDER}%s\\n' \"$PWD\"; cat $report.part; }} > $report; (exit $status)"
        )

    def parse(self, report: bytes) -> Mapping[str, Outcome]:
        """Read the JSON object; a file that could not be run is an error under its own name."""
        folder, text = _opened(report)
        data = _json(text)
        kinds: dict[str, Outcome] = {"passed": "passed", "failed": "failed"}
        outcomes = Tally()
        for result in _objects(data, "testResults"):
            file = _text(result, "name").removeprefix(folder)
            if not result.get("assertionResults") and result.get("status") == "failed":
                outcomes.add(file, "error")
            for entry in _objects(result, "assertionResults"):
                titles = entry.get("ancestorTitles") or []
                if not isinstance(titles, list) or not all(isinstance(title, str) for title in titles):
                    raise ValueError("the report is broken: its titles are no texts")
                test = f"{file}::{' > '.join([*titles, _text(entry, 'title')])}"
                outcomes.add(test, kinds.get(_text(entry, "status"), "skipped"))
        return outcomes


def _point(match: re.Match[str]) -> tuple[str, Outcome]:
    name, outcome = match[3], "failed" if match[2] else "passed"
    if directive := _DIRECTIVE.match(name):
        name, outcome = directive[1], "skipped"
    return re.sub(r"\\([#\\])", r"\1", name.strip()), outcome  # type: ignore[return-value]


def _without_yaml(tap: str) -> Iterator[str]:
    """TAP's lines without the blocks that describe a failure, where a test's own text may look like TAP."""
    end = None
    for line in tap.splitlines():
        if end is None and line.strip() == "---":
            end = line.replace("---", "...")
        elif end is None:
            yield line
        elif line == end:
            end = None


def _opened(report: bytes) -> tuple[str, str]:
    """What absolute paths in a report begin with, and the report without that line."""
    head, _, text = report.decode(errors="replace").partition("\n")
    if not head.startswith(_FOLDER):
        raise ValueError("not a report of ours: it names no folder")
    return f"{head[len(_FOLDER) :]}/", text


def _json(text: str) -> dict[str, Any]:
    """The object that a text begins with."""
    try:
        data, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        raise ValueError("the report is broken or cut short") from None
    if not isinstance(data, dict):
        raise ValueError("the report is broken: it is no object")
    return data


def _objects(data: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    entries = data.get(key) or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"the report is broken: its {key} are no list of objects")
    return entries


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""
