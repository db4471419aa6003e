"""pytest, read from its JUnit report. An id is the node id: `tests/test_a.py::TestA::test_b[x]`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from envfarm.tasks.runners.base import Outcome, Tally, broken, files_of, parts_of


class Pytest:
    """Runs `python3 -m pytest --junitxml`, family xunit1, which names each test's file."""

    name = "pytest"
    protected: tuple[str, ...] = (
        "conftest.py",
        "pytest.ini",
        ".pytest.ini",
        "pytest.toml",
        ".pytest.toml",
        "tox.ini",
        "sitecustomize.py",
        "usercustomize.py",
        "sitecustomize",
        "usercustomize",
        "*.pth",
        "*.egg-link",
        "*.dist-info",
        "*.egg-info",
        "pyvenv.cfg",
        # what `python -m pytest` would import from the working directory in place of the real one
        *("/pytest", "/pytest.py", "/_pytest", "/_pytest.py", "/pluggy", "/pluggy.py", "/iniconfig", "/iniconfig.py"),
    )
    env: Mapping[str, str] = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}

    def is_test(self, path: str) -> bool:
        """test_*.py, *_test.py, conftest.py and whatever lies below a folder called test or tests."""
        *folders, file = parts_of(path)
        if file.endswith(".py") and (file.startswith("test_") or file.endswith("_test.py") or file == "conftest.py"):
            return True
        return any(folder in ("test", "tests") for folder in folders)

    def paths(self, ids: Sequence[str]) -> list[str]:
        """The files that the ids name."""
        return files_of(ids)

    def command(self, paths: Sequence[str], report: str) -> str:
        """pytest without its cache, so that no earlier run reorders tests, and to the end whatever fails."""
        where = " ".join(map(shlex.quote, paths))
        return (
            "python3 -m pytest -p no:cacheprovider --maxfail=0 --continue-on-collection-errors -o junit_family=xunit1 "
            f"--junitxml={shlex.quote(report)} --color=no -q {where}"
        ).rstrip()

    def parse(self, report: bytes) -> Mapping[str, Outcome]:
        """Read JUnit XML. An expected failure counts as skipped; of several entries for one id the worst counts."""
        text = report.decode()  # as pytest writes it: in another encoding a document type would look like none
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise ValueError("a JUnit report has no document type")
        try:
            root = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise ValueError(f"not a JUnit report: {error}") from None
        outcomes = Tally()
        for case in root.iter("testcase"):
            outcomes.add(_node_id(case), _outcome(case))
        return outcomes

    def agrees(self, outcomes: Mapping[str, Outcome], exit_code: int) -> bool:
        """0: all passed; 1: some failed; 2: interrupted by errors of collection; 5: there were no tests."""
        if exit_code == 0:
            return bool(outcomes) and not broken(outcomes)
        if exit_code == 5:  # a module that was skipped as a whole is in the report, and no test
            return all(outcome == "skipped" for outcome in outcomes.values())
        return exit_code in (1, 2) and broken(outcomes)


def _outcome(case: ElementTree.Element) -> Outcome:
    if case.find("error") is not None:
        return "error"
    if case.find("failure") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def _node_id(case: ElementTree.Element) -> str:
    """Undo pytest's mangling (`_pytest.junitxml.mangle_test_address`) with the help of the file's name."""
    file, classname, name = (case.get(key) or "" for key in ("file", "classname", "name"))
    module = file.removesuffix(".py").replace("/", ".")
    if not classname:  # a file that could not be collected
        return name.replace(".", "/") + ".py" if "/" not in name else name
    if classname == module:
        return f"{file}::{name}"
    if file and classname.startswith(f"{module}."):
        return "::".join([file, *classname[len(module) + 1 :].split("."), name])
    # Inherited from another file: a class starts with a capital or an underscore, a module rarely does.
    parts = classname.split(".")
    at = next((i for i, part in enumerate(parts) if i and part.lstrip("_")[:1].isupper()), len(parts))
    return "::".join(["/".join(parts[:at]) + ".py", *parts[at:], name])
