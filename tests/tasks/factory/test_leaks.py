"""The leak gate: a clean image is clean, and every way to read the fix in it is found."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from envfarm.tasks.factory.leaks import distinctive, leaks
from envfarm.tasks.folder import load
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import ImageError, TaskError
from envfarm.toolbox.sandboxes.base import Backend, Sandbox, SandboxSpec

LINE = "return sum_of(left, right) if left else right"
FIX = f"""diff --git a/adder.py b/adder.py
--- a/adder.py
+++ b/adder.py
@@ -1,4 +1,4 @@
 def add(left, right):
-    return left - right
+    # short
+    {LINE}
+    unchanged_elsewhere = "moved, but not new at all"
-
-unchanged_elsewhere = "moved, but not new at all"
"""
REPOSITORY = """
set -e
mkdir /testbed && cd /testbed && printf 'def add(left, right):\\n    return left - right\\n' > adder.py
git init -q && git add -A
git -c user.name=t -c user.email=t@e -c core.logAllRefUpdates=false commit -q -m adder
"""


@pytest.fixture
def task(tmp_path: Path) -> Task:
    for name, text in {
        "task.toml": '[envfarm]\nkind = "swe"\nrunner = "pytest"\nfail_to_pass = ["t.py::t"]\n'
        '[envfarm.source]\nregistry = "pypi"\nname = "little-adder"\nold = "1.0"\nnew = "1.1"\n',
        "instruction.md": "Fix it.\n",
        "environment/Dockerfile": "FROM debian:12\n",
        "tests/test.sh": "exit 0\n",
        "solution/fix.patch": FIX,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return load(tmp_path)


def test_only_new_and_telling_lines_tell_a_fix() -> None:
    assert distinctive(FIX) == {LINE}
    assert distinctive("+++ b/x\n+return a or b\n") == {"return a or b"}  # nothing better is there


async def _found(sandbox: Sandbox, task: Task, script: str) -> list[str]:
    result = await sandbox.run(REPOSITORY + script, user="root", cwd="/", timeout=60)
    assert result.exit_code == 0, result.stderr
    return [str(leak) for leak in await leaks(task, sandbox)]


async def test_a_clean_image_has_no_leak(sandbox: Sandbox, task: Task) -> None:
    assert await _found(sandbox, task, "") == []


COMMIT = "git -c user.name=t -c user.email=t@e -c core.logAllRefUpdates=false commit -q"
LEAKS = {
    "a file anywhere": (f"mkdir /opt/x && echo '    {LINE}' > /opt/x/notes", "/opt/x/notes"),
    "a name with a space": (f"echo '{LINE}' > '/opt/a b'", "/opt/a b"),
    "a wheel in a cache": (
        f"mkdir -p /root/.cache/pip && cd /root/.cache/pip && echo '{LINE}' > a.py && zip -q a.body a.py && rm a.py",
        "/root/.cache/pip/a.body",
    ),
    "a tarball": (f"cd /srv && echo '{LINE}' > a.py && tar -czf a.tar.gz a.py && rm a.py", "/srv/a.tar.gz"),
    "a cache whose files have no suffix": (
        f"mkdir -p /root/.npm/_cacache && echo '{LINE}' | gzip > /root/.npm/_cacache/0a1b",
        "/root/.npm/_cacache/0a1b",
    ),
    "the fixed release's metadata": (
        "mkdir -p /usr/lib/python3/dist-packages/little_adder-1.1.dist-info",
        "/usr/lib/python3/dist-packages/little_adder-1.1.dist-info",
    ),
    "a module cache": (
        "mkdir -p '/go/pkg/mod/example.org/little-adder@v1.1'",
        "/go/pkg/mod/example.org/little-adder@v1.1",
    ),
    "an object that no commit names": (f"echo '{LINE}' | git hash-object -w --stdin > /dev/null", "/testbed/.git"),
    "compiled code of a source that is gone": (
        "mkdir /opt/c && cd /opt/c && echo 1 > a.py && python3 -m compileall -q . && rm a.py",
        "/opt/c/__pycache__/a.cpython-",
    ),
    "a second commit": (f"echo > more && git add more && {COMMIT} -m more", "commits, not one"),
    "a commit on a stash": (
        f"echo '{LINE}' >> adder.py && git -c user.name=t -c user.email=t@e stash -q",
        "/testbed/.git",
    ),
    "a remote": ("git remote add origin https://example.org/adder", "names a remote: origin"),
    "a tag": ("git tag v1.1", "has tags"),
}


async def test_finds_every_leak(sandbox: Sandbox, task: Task) -> None:
    script = "\n".join(f"(cd /testbed && {leak})" for leak, _ in LEAKS.values())
    found = await _found(sandbox, task, script)
    missed = [name for name, (_, place) in LEAKS.items() if not any(place in leak for leak in found)]
    assert missed == [], found


async def test_an_image_of_busybox_alone_is_searched_too(backend: Backend, docker_busybox: str, task: Task) -> None:
    spec = SandboxSpec(image=docker_busybox, entrypoint=False)
    sandbox = await backend.start(spec, owner=f"test-factory-{uuid.uuid4().hex[:8]}", lease="test")
    try:
        await sandbox.run("mkdir -p '/testbed/a b'", cwd="/")
        assert await leaks(task, sandbox) == []
        script = f"echo '{LINE}' > '/testbed/a b/plain' && gzip -c '/testbed/a b/plain' > '/testbed/a b/packed.gz'"
        await sandbox.run(script, cwd="/")
        assert {leak.place for leak in await leaks(task, sandbox)} == {"/testbed/a b/plain", "/testbed/a b/packed.gz"}
        await sandbox.run("mkdir /testbed/.git", cwd="/")
        assert "the image has no git" in str((await leaks(task, sandbox))[-1])
        await sandbox.run("rm -r /testbed", cwd="/")
        with pytest.raises(TaskError, match="the image has no folder /testbed"):
            await leaks(task, sandbox)
    finally:
        await sandbox.close()


async def test_a_line_that_the_task_allows_is_let_pass(sandbox: Sandbox, task: Task) -> None:
    table = task.config.envfarm.model_copy(update={"leak_allow": (f"  {LINE}",)})
    allowed = task.model_copy(update={"config": task.config.model_copy(update={"envfarm": table})})
    assert await _found(sandbox, allowed, f"echo '{LINE}' > /opt/notes") == []


async def test_an_image_that_cannot_be_searched_does_not_pass(sandbox: Sandbox, task: Task) -> None:
    with pytest.raises(ImageError, match="cannot search the image"):
        await _found(sandbox, task, "rm /usr/bin/xargs")


async def test_an_older_release_by_name_is_no_leak(sandbox: Sandbox, task: Task) -> None:
    assert await _found(sandbox, task, "mkdir /opt/little_adder-1.0.dist-info /opt/little-adder-1.10") == []
