"""`go test`, read from its JSON events (`go doc test2json`). An id is `import/path::TestA/sub`."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence

from envfarm.tasks.runners.base import Outcome, Tally, broken, files_of, parts_of

_ENDS: dict[str, Outcome] = {"pass": "passed", "fail": "failed", "skip": "skipped"}
_UNBUILT = re.compile(rb"^FAIL\s+(\S+) \[(?:build|setup) failed\]$")


class Go:
    """Runs `go test -json` on packages."""

    name = "go"
    protected: tuple[str, ...] = (
        "*_test.go",
        "testdata",
        "go.work",
        "go.work.sum",
        "go.mod",
        "go.sum",
        "vendor",
        "*.syso",
    )
    env: Mapping[str, str] = {"GOTOOLCHAIN": "local", "GOWORK": "off", "GOPROXY": "off", "GOSUMDB": "off"}

    def is_test(self, path: str) -> bool:
        """*_test.go and what lies in a folder called testdata."""
        *folders, file = parts_of(path)
        return file.endswith("_test.go") or "testdata" in folders

    def paths(self, ids: Sequence[str]) -> list[str]:
        """The import paths that the ids name."""
        return files_of(ids)

    def command(self, paths: Sequence[str], report: str) -> str:
        """No cached results, no vet; paths are import paths, folders of packages or test files in them."""
        where = " ".join(map(shlex.quote, dict.fromkeys(map(_package, paths)))) or "./..."
        return f"go test -json -count=1 -vet=off -failfast=false {where} > {shlex.quote(report)}"

    def parse(self, report: bytes) -> Mapping[str, Outcome]:
        """Read the events; a test that began and did not end, as in a crash, is an error."""
        outcomes = Tally()
        begun: set[str] = set()
        events = 0
        for line in report.splitlines():
            if not line.startswith(b"{"):
                if match := _UNBUILT.match(line):  # what go itself prints beside the events
                    outcomes[match[1].decode(errors="replace")] = "error"
                continue
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                raise ValueError("the report of go test is cut short") from None
            events += 1
            package, name, action = (_text(event.get(key)) for key in ("Package", "Test", "Action"))
            if action == "fail" and not name:
                outcomes.setdefault(package, "failed")  # the package as a whole: a crash, a build that fails
            if not name:
                continue
            test = f"{package}::{name}"
            if action == "run":
                begun.add(test)
            elif action in _ENDS:
                outcomes.add(test, _ENDS[action])
        if not events and not outcomes:
            raise ValueError("not a report of go test -json")
        return outcomes | dict.fromkeys(begun - outcomes.keys(), "error")

    def agrees(self, outcomes: Mapping[str, Outcome], exit_code: int) -> bool:
        """0: all passed; 1: some failed; 2: something could not be built."""
        if exit_code == 0:
            return bool(outcomes) and not broken(outcomes)
        return exit_code in (1, 2) and broken(outcomes)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _package(path: str) -> str:
    """A test file or a folder of the repository as a package pattern; an import path stays."""
    if path.endswith(".go"):
        folder = path.rpartition("/")[0]
        return f"./{folder}" if folder else "."
    first = path.partition("/")[0]
    return path if "." in first else f"./{path}"
