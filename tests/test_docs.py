"""What the documentation says is so: its commands run, its links lead somewhere, nothing is left out."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from typer.main import get_command

import envfarm
from envfarm.envs.judge.config import JudgeConfig
from envfarm.k8s.config import KubernetesConfig
from envfarm.orchestrator.cli.app import app
from envfarm.orchestrator.http.routes import ROUTES
from envfarm.orchestrator.schemas.episodes import EventType
from envfarm.orchestrator.settings import Settings
from envfarm.toolbox.egress.config import EgressConfig
from envfarm.toolbox.search.config import EmbeddingsConfig
from envfarm.toolbox.search.live.config import LiveConfig

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
CONCEPTS = ["architecture", "tasks", "tools", "sandboxes", "http", "scoring", "settings", "benchmarks"]


def blocks(page: Path) -> list[str]:
    """The page's shell blocks."""
    return re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)


def test_the_readme_runs_from_its_first_command_to_its_last(tmp_path: Path, docker_base: str) -> None:
    commands = [block for block in blocks(ROOT / "README.md") if not block.startswith("make ")]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    script = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n" + "\n".join(commands).replace(
        "8470", port
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ENVFARM_")}
    environment |= {"ENVFARM_PORT": port, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert '"hello.txt' in done.stdout  # the observation
    assert re.search(r'"status": "done",\s+"value": 1(\.0)?,', done.stdout), done.stdout


def test_every_target_that_is_named_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target for page in PAGES for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert named - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_every_concept_has_a_page() -> None:
    assert [name for name in CONCEPTS if not (ROOT / f"docs/{name}.md").is_file()] == []


def test_the_readme_leads_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in ROOT.glob("docs/*.md") if f"(docs/{page.name})" not in readme] == []


def test_every_trainers_page_has_a_row_and_begins_with_a_snippet() -> None:
    table = (ROOT / "docs/trainers.md").read_text()
    for page in ROOT.glob("docs/trainers/*.md"):
        assert f"(trainers/{page.name})" in table
        assert "```python" in page.read_text().partition("\n| ")[0], f"{page.name} explains before it shows"


def test_every_adapter_has_a_page() -> None:
    adapters = {path.stem.replace("_", "-") for path in ROOT.glob("trainers/adapters/[a-z]*.py")} - {"shared"}
    assert adapters <= {page.stem for page in ROOT.glob("docs/trainers/*.md")}


def test_every_setting_is_documented_with_its_default_and_meaning() -> None:
    page = (ROOT / "docs/settings.md").read_text()
    for name, field in Settings.model_fields.items():
        row = re.search(rf"^\| `{name}` \| (.*?) \| (.*) \|$", page, re.MULTILINE)
        assert row, f"docs/settings.md has no row for {name}"
        assert row[2] == field.description
        if isinstance(field.default, int | float | Path) or field.default in ("docker", "runc", "127.0.0.1", "info"):
            shown = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
            assert row[1] == f"`{shown}`", name
    assert set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE)) == set(Settings.model_fields)


@pytest.mark.parametrize(
    ("table", "model"),
    [
        ("kubernetes", KubernetesConfig),
        ("egress", EgressConfig),
        ("judge", JudgeConfig),
        ("embeddings", EmbeddingsConfig),
        ("live", LiveConfig),
    ],
)
def test_every_setting_of_a_table_is_documented_with_its_meaning(table: str, model: type[BaseModel]) -> None:
    rows = dict(
        re.findall(rf"^\| `{table}\.([a-z_]+)` \| .*? \| (.*) \|$", (ROOT / "docs/settings.md").read_text(), re.M)
    )
    assert rows == {name: field.description for name, field in model.model_fields.items()}


@pytest.mark.parametrize(
    ("page", "start"), [("http", "is a stream of server-sent events:"), ("episodes", "## Events\n")]
)
def test_every_event_is_documented(page: str, start: str) -> None:
    listed = (ROOT / f"docs/{page}.md").read_text().partition(start)[2].partition(" Ids rise")[0]
    assert re.findall(r"`([a-z.]+)`", listed) == list(get_args(EventType))


def test_every_endpoint_is_documented() -> None:
    page = (ROOT / "docs/http.md").read_text()
    paths = {re.sub(r":[^}]*}", "}", route.path) for route in ROUTES}  # `{task:.+}` is written `{task}`
    assert [path for path in paths if path not in page] == []


def test_every_command_is_documented() -> None:
    def walk(command: Any, name: str) -> Iterator[str]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name
        else:
            for key, sub in inner.items():
                yield from walk(sub, f"{name} {key}")

    documented = re.findall(r"^\| `(envfarm [a-z -]+)` \|", (ROOT / "docs/cli.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(walk(get_command(app), "envfarm"))


def test_every_dependency_has_its_reason() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    pinned = re.findall(r'^    "([a-z0-9-]+)(?:\[\w+\])?==', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert len(pinned) > 10
    assert [name for name in pinned if name not in page] == []


def test_the_changelog_begins_with_this_version() -> None:
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first
    assert first[1] == envfarm.__version__
