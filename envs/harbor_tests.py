"""Runs a task's Harbor tests in a sandbox and reads the reward that they leave."""

from __future__ import annotations

import asyncio
import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from envfarm.envs.base import Reward
from envfarm.envs.carry import Carried
from envfarm.envs.carry_policy import ACCOUNTS, Tree
from envfarm.envs.reward_file import NoReward, read_reward
from envfarm.envs.take import PRUNED, ROOTS, split_names
from envfarm.tasks.spec import Task
from envfarm.toolbox.artifacts import Artifacts
from envfarm.toolbox.errors import FileProblem, SandboxError, SandboxLost, TaskError
from envfarm.toolbox.sandboxes.base import ExecResult, Sandbox

ENV = {
    "PYTHONNOUSERSITE": "1",
    "PIP_NO_INPUT": "1",
    # The agent's repositories are data: no monitor, hook or pager of theirs runs unless `[verifier] env` asks for it.
    "GIT_CONFIG_COUNT": "3",
    "GIT_CONFIG_KEY_0": "core.fsmonitor",
    "GIT_CONFIG_VALUE_0": "false",
    "GIT_CONFIG_KEY_1": "core.hooksPath",
    "GIT_CONFIG_VALUE_1": "/dev/null",
    "GIT_CONFIG_KEY_2": "core.pager",
    "GIT_CONFIG_VALUE_2": "cat",
}
"""The environment of the tests, beside the image's and the task's `[verifier] env`, which wins."""

_LOGS = "/logs/verifier"
_TESTED = "/.envfarm-tested"  # in a folder that is root's in every image: there, the agent's services were ended
_REWARD_LIMIT = 65536  # bytes of a reward file
_TREE = f"""{ROOTS}
printf '%s\\0%s\\0\\0' "$PATH" "$PWD"
find $roots -xdev {PRUNED} -o -type d -print0
printf '\\0'
find $roots -xdev {PRUNED} -o -type l -print0
printf '\\0'
find $roots -xdev {PRUNED} -o ! -type d ! -type l -print0
"""
_PREPARE = """
for path in /tests /logs; do [ ! -h "$path" ] || rm -f "$path"; done
rm -rf /tests /logs/verifier && mkdir -p /tests /logs/verifier /logs/agent /logs/artifacts &&
chmod 700 /tests /logs/verifier && chmod 755 /logs
"""


@dataclass
class TestRun:
    """What the tests said: `value` is None, with a reason, when they left no reward that can be read."""

    __test__ = False  # no test of pytest's

    value: float | None = None
    parts: dict[str, float] = field(default_factory=dict)
    reason: str | None = None
    evidence: dict[str, str] = field(default_factory=dict)

    def reward(self, evidence: dict[str, str]) -> Reward:
        """The reward of an episode, with what else there is to show."""
        return Reward(value=self.value, parts=self.parts, reason=self.reason, evidence={**evidence, **self.evidence})


async def untouched(sandbox: Sandbox) -> Tree:
    """The paths of a sandbox that no agent was in. Raises SandboxError."""
    result = await sandbox.run(_TREE, user="root", timeout=120, output_limit=256 << 20)
    if result.exit_code != 0 or result.truncated:
        raise SandboxError(
            f"a fresh sandbox cannot list its own files: {result.stderr[-300:].decode('utf-8', 'replace')}"
        )
    head, directories, links, files = result.stdout.split(b"\0\0")
    path, workdir = head.decode("utf-8", "surrogateescape").split("\0")
    return Tree(
        directories=frozenset(split_names(directories)),
        links=frozenset(split_names(links)),
        files=frozenset(split_names(files)),
        path=tuple(folder.rstrip("/") for folder in path.split(":") if folder.startswith("/")),
        workdir=workdir,
        accounts={path: await _content(sandbox, path) for path in ACCOUNTS},
    )


async def _content(sandbox: Sandbox, path: str) -> bytes:
    try:
        return await sandbox.read(path, limit=1 << 20)
    except FileProblem:
        return b""


async def apply(sandbox: Sandbox, carried: Carried) -> None:
    """Lay an agent's changes into a sandbox. Raises SandboxError."""
    if carried.remove:
        names = b"\0".join(path.encode("utf-8", "surrogateescape") for path in carried.remove)
        result = await sandbox.run("xargs -0 rm -rf --", user="root", cwd="/", stdin=names, timeout=300)
        if result.exit_code != 0:
            raise SandboxError(f"the agent's deletions cannot be repeated: {result.stderr[-300:]!r}")
    await _put(sandbox, carried.tar, "/")


async def run_tests(
    task: Task, sandbox: Sandbox, artifacts: Artifacts, *, wipe: bool = True, live: bool = False
) -> TestRun:
    """Bring the tests, run them, read the reward. Raises SandboxError, TaskError.

    `wipe` removes what lies in /tests first; an image of the verifier's own may bring its tests itself. `live` is the
    agent's sandbox, with services that the tests ask: it is tested once. Raises SandboxLost where that was before.
    """
    verifier = task.config.verifier
    if live:
        await _only_once(sandbox)
    await _prepare(task, sandbox, wipe)
    result = await sandbox.run(
        "exec /tests/test.sh 2>&1",
        user="root" if verifier.user is None else str(verifier.user),
        env={**ENV, **verifier.env},
        timeout=verifier.timeout_sec,
        spool=True,
    )
    run = TestRun(evidence={"test_log": await _log(result, artifacts)})
    if result.timed_out:
        run.reason = f"the tests did not end within {verifier.timeout_sec:g} s"
        return run
    if live:
        await _must(sandbox, f": >{_TESTED}", "that the tests ran cannot be noted")
    # What the tests or the agent left running must not write a reward after them, nor into what is read of it: all
    # processes have the output of the sandbox's first one.
    await sandbox.kill_all()
    found: dict[str, bytes | None] = {}
    for name in ("reward.json", "reward.txt"):
        found[name] = await _reward_file(sandbox, f"{_LOGS}/{name}")
        if (data := found[name]) is not None:
            run.evidence[name] = await asyncio.to_thread(artifacts.put, data)
    try:
        run.value, run.parts = read_reward(found["reward.json"], found["reward.txt"])
    except NoReward as error:
        run.reason = f"{error} (test.sh left with exit code {result.exit_code})"
    return run


async def _only_once(sandbox: Sandbox) -> None:
    """See that services still run, for without them good work would earn 0. Raises SandboxLost."""
    if (await sandbox.run(f"[ -e {_TESTED} ]", user="root", cwd="/", timeout=60)).exit_code == 0:
        raise SandboxLost("its services were ended by an earlier try to score it, which failed", cause="killed")


async def _prepare(task: Task, sandbox: Sandbox, wipe: bool) -> None:
    user = task.config.verifier.user
    script = _PREPARE if wipe else _PREPARE.replace("rm -rf /tests /logs/verifier", "rm -rf /logs/verifier")
    await _must(sandbox, script, "the folders of the tests cannot be made")
    await _put(sandbox, await asyncio.to_thread(_tests, task.path / "tests"), "/tests")
    owner = f"chown -R {user} /tests /logs/verifier && " if user not in (None, "root", 0, "0") else ""
    await _must(sandbox, f"{owner}chmod +x /tests/test.sh", "the tests cannot be brought")


async def _put(sandbox: Sandbox, tar: bytes, path: str) -> None:
    try:
        await sandbox.put_tree(tar, path)
    except FileProblem as problem:
        raise SandboxError(f"{path} cannot be filled: {problem}") from None


async def _must(sandbox: Sandbox, script: str, problem: str) -> None:
    result = await sandbox.run(script, user="root", cwd="/", timeout=120)
    if result.exit_code != 0:
        raise SandboxError(f"{problem}: {result.stderr[-300:].decode('utf-8', 'replace')}")


def _tests(folder: Path) -> bytes:
    """A tar of a task's tests, owned by root."""
    if not (folder / "test.sh").is_file():
        raise TaskError(f"{folder / 'test.sh'} is missing: it is what scores the task")

    def roots(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for entry in sorted(folder.iterdir()):
            tar.add(entry, entry.name, filter=roots)
    return buffer.getvalue()


async def _log(result: ExecResult, artifacts: Artifacts) -> str:
    spool = result.stdout_info.spool
    if spool is None:
        return await asyncio.to_thread(artifacts.put, result.stdout)
    try:
        return await asyncio.to_thread(artifacts.put_file, spool)
    finally:
        await asyncio.to_thread(spool.unlink, missing_ok=True)


async def _reward_file(sandbox: Sandbox, path: str) -> bytes | None:
    result = await sandbox.run(
        f"[ -f {path} ] && [ ! -h {path} ] && head -c {_REWARD_LIMIT} {path}", user="root", cwd="/", timeout=60
    )
    return result.stdout if result.exit_code == 0 else None
