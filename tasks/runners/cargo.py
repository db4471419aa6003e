"""`cargo test`, read from what libtest prints. An id is `tests/foo.rs::module::name`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from envfarm.tasks.runners.base import Outcome, Tally, broken, files_of, parts_of

_ESCAPES = re.compile(rb"\x1b\[[0-9;]*m")
_BINARY = re.compile(r"^\s+Running (?:unittests )?(\S+\.rs) \(.*\)$")
_TEST = re.compile(r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored.*)$")
_END = re.compile(r"^test result: ")


class Cargo:
    """Runs `cargo test` on unit and integration tests; documentation tests have no lasting names."""

    name = "cargo"
    protected: tuple[str, ...] = (
        "build.rs",
        ".cargo",
        "rust-toolchain",
        "rust-toolchain.toml",
        "clippy.toml",
        ".config",
    )
    env: Mapping[str, str] = {"CARGO_TERM_COLOR": "never", "CARGO_NET_OFFLINE": "true", "RUST_BACKTRACE": "0"}

    def is_test(self, path: str) -> bool:
        """What lies in a folder called tests or benches, and modules called tests."""
        *folders, file = parts_of(path)
        return file in ("tests.rs", "test.rs") or any(folder in ("tests", "benches") for folder in folders)

    def paths(self, ids: Sequence[str]) -> list[str]:
        """The root files of the test binaries that the ids name."""
        return files_of(ids)

    def command(self, paths: Sequence[str], report: str) -> str:
        """Two threads even on one CPU: with one, libtest prints a name before it runs and output gets in between."""
        targets = " ".join(dict.fromkeys(map(_target, paths))) or "--lib --bins --tests"
        return f"cargo test --no-fail-fast {targets} -- --test-threads=2 > {shlex.quote(report)} 2>&1"

    def parse(self, report: bytes) -> Mapping[str, Outcome]:
        """Read the log; a binary that has no result line died, and is an error under its file's name.

        A build that failed names no test.
        """
        outcomes = Tally()
        file = None
        died: set[str] = set()
        for line in _ESCAPES.sub(b"", report).decode(errors="replace").splitlines():
            if match := _BINARY.match(line):
                file = match[1]
                died.add(file)
            elif file is not None and (match := _TEST.match(line)):
                outcome: Outcome = {"ok": "passed", "FAILED": "failed"}.get(match[2], "skipped")  # type: ignore[assignment]
                outcomes.add(f"{file}::{match[1]}", outcome)
            elif file is not None and _END.match(line):
                died.discard(file)
        if file is None and b"error" not in report:
            raise ValueError("not a log of cargo test")
        return outcomes | dict.fromkeys(died, "error")

    def agrees(self, outcomes: Mapping[str, Outcome], exit_code: int) -> bool:
        """0: all passed; 101: some failed, or did not build; 1: the command was wrong."""
        if exit_code == 0:
            return bool(outcomes) and not broken(outcomes)
        return exit_code in (1, 101) and (not outcomes or broken(outcomes))


def _target(path: str) -> str:
    """The option that selects the test binary of a root file, or of a module below it."""
    parts = path.split("/")
    if "tests" in parts[:-1]:
        name = parts[parts.index("tests") + 1].removesuffix(".rs")
        return f"--test {shlex.quote(name)}"
    return "--bins" if parts[-1] == "main.rs" or "bin" in parts[:-1] else "--lib"
