"""Writes a SWE task folder in Harbor's layout."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from envfarm.tasks.factory.languages.base import Environment, dockerfile, shell

_EXCLUDED = ("__pycache__/", "*.pyc", "*.egg-info/", ".pytest_cache/", "node_modules/", "target/")


@dataclass(slots=True)
class Folder:
    """Everything that a task folder says."""

    name: str
    language: str
    runner: str
    instruction: str
    source: Mapping[str, str]  # [envfarm.source]
    get_old: str  # Dockerfile lines that lay the older source into /testbed
    get_tests: str  # shell commands that lay the tests into the folder "$tests"; "$here" is that of `tests`
    environment: Environment
    fix: str
    test_command: str
    test_paths: Sequence[str] = ()
    fail_to_pass: Sequence[str] = ()
    pass_to_pass: Sequence[str] = ()
    leak_allow: Sequence[str] = ()
    context: Mapping[str, bytes] = field(default_factory=dict)  # further files of environment/
    tests: Mapping[str, bytes] = field(default_factory=dict)  # further files of tests/

    def write(self, path: Path) -> None:
        """Write the folder; files that are there already are replaced."""
        self._put(path / "task.toml", self._toml().encode())
        self._put(path / "instruction.md", self.instruction.encode())
        self._put(path / "environment" / "Dockerfile", self._agent().encode())
        for name, data in {**self.environment.files, **self.context}.items():
            self._put(path / "environment" / name, data)
        self._put(path / "tests" / "Dockerfile", self._verifier().encode())
        self._put(path / "tests" / "get_tests.sh", (_GET + self.get_tests.strip("\n") + "\n").encode(), mode=0o755)
        for name, data in self.tests.items():
            self._put(path / "tests" / name, data)
        ids = {"fail_to_pass": list(self.fail_to_pass), "pass_to_pass": list(self.pass_to_pass)}
        self._put(path / "tests" / "ids.json", (json.dumps(ids, indent=1, ensure_ascii=False) + "\n").encode())
        self._put(path / "tests" / "test.sh", self._test_sh().encode(), mode=0o755)
        self._put(path / "solution" / "fix.patch", self.fix.encode("utf-8", "surrogateescape"))
        self._put(path / "solution" / "solve.sh", _SOLVE.encode(), mode=0o755)

    def _put(self, file: Path, data: bytes, *, mode: int = 0o644) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(mode)

    def _toml(self) -> str:
        lines = [
            'schema_version = "1.1"',
            "",
            "[task]",
            f"name = {_text(f'envfarm/{self.name}')}",
            f"keywords = {_list(['swe', self.language])}",
            "",
            "[environment]",
            'network_mode = "no-network"',
            'workdir = "/testbed"',
            "",
            "[verifier]",
            "timeout_sec = 600",
            "# For plain Harbor, whose verifier fetches the tests; envfarm has them in an image and runs them offline.",
            'network_mode = "public"',
            "",
            "[envfarm]",
            'kind = "swe"',
            f"language = {_text(self.language)}",
            f"runner = {_text(self.runner)}",
            'repository = "/testbed"',
            f"test_paths = {_list(self.test_paths)}",
        ]
        if self.leak_allow:
            lines.append(f"leak_allow = {_list(self.leak_allow)}")
        lines += ["", "[envfarm.source]", *(f"{key} = {_text(value)}" for key, value in self.source.items())]
        return "\n".join(lines) + "\n"

    def _agent(self) -> str:
        return dockerfile(
            f"FROM {self.environment.base}",
            "WORKDIR /testbed",
            self.get_old,
            self.environment.steps,
            "# One fresh commit: nothing of the fix, and nothing that says where it could be found.\n"
            + shell(
                "cd /testbed",
                "git init -q -b main",
                "rm -rf .git/hooks",
                f"printf '%s\\n' {' '.join(shlex.quote(name) for name in _EXCLUDED)} > .git/info/exclude",
                "git add -A -f -- . ':(exclude,glob)**/*.egg-info/**' ':(exclude,glob)**/__pycache__/**'",
                "GIT_AUTHOR_DATE=2000-01-01T00:00:00Z GIT_COMMITTER_DATE=2000-01-01T00:00:00Z git"
                " -c user.name=testbed -c user.email=testbed@localhost -c core.logAllRefUpdates=false"
                " commit -q -m 'Initial commit'",
            ),
        )

    def _verifier(self) -> str:
        return dockerfile(
            "ARG BASE\nFROM $BASE",
            "USER root",
            f"COPY {' '.join(sorted(['get_tests.sh', *self.tests]))} /verifier/kit/",
            shell(
                "sh /verifier/kit/get_tests.sh /verifier/tests",
                "find /verifier/tests -exec touch {} +",  # archives hold old times, by which cargo would not rebuild
                "rm -rf /verifier/kit",
                "cp -a /testbed /verifier/pristine",
                "chown -R root:root /verifier",
                "chmod -R go-rwx /verifier",
            ),
        )

    def _test_sh(self) -> str:
        paths = " ".join(shlex.quote(f"./{path}") for path in self.test_paths)
        return (
            "#!/bin/sh\n"
            "# For players that know only Harbor's format: the whole suite's exit status, where the agent worked.\n"
            "# envfarm itself scores in a fresh sandbox, test by test.\n"
            "cd /testbed || exit 1\n"
            "mkdir -p /logs/verifier\n"
            '[ -d /verifier/tests ] || sh "$(dirname "$0")/get_tests.sh" /verifier/tests || exit 1\n'
            f"rm -rf {paths}\n"
            "cp -a /verifier/tests/. /testbed/\n"
            f"if {self.test_command}; then echo 1; else echo 0; fi > /logs/verifier/reward.txt\n"
        )


def without(runner: str, command: str, failing: Sequence[str]) -> str:
    """A runner's command that leaves out tests which fail with the fix too, where the runner has an option for it."""
    if runner == "pytest":
        return " ".join([command, *(f"--deselect={shlex.quote(test)}" for test in failing)])
    if runner == "cargo":
        names = [shlex.quote(test.partition("::")[2]) for test in failing if "::" in test]
        return command.replace(
            "--test-threads=2", " ".join(["--test-threads=2", *(f"--skip {name}" for name in names)])
        )
    return command


_GET = """#!/bin/sh
# Lays the tests into the folder $1.
set -e
here="$(cd "$(dirname "$0")" && pwd)"
tests="$1"
mkdir -p "$tests"
"""

_SOLVE = """#!/bin/sh
# The reference fix.
set -e
fix="$(cd "$(dirname "$0")" && pwd)/fix.patch"
cd /testbed
git apply --whitespace=nowarn "$fix"
"""


def _text(value: str) -> str:
    """A TOML basic string, which JSON's strings are but for the escapes of DEL and surrogates."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(values: Sequence[str]) -> str:
    inner = ", ".join(map(_text, values))
    if len(inner) < 100:
        return f"[{inner}]"
    return "[\n" + "".join(f"    {_text(value)},\n" for value in values) + "]"
