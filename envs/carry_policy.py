"""Which changes of an agent its tests get to see, and which would change who runs them.

Source of the vectors: docs/scoring.md.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase, translate
from pathlib import PurePosixPath

ACCOUNTS = {"/etc/passwd": (2, 3), "/etc/group": (2,)}
"""Files of users and groups, and which fields are the ids: tests run programs as users of the image, by name."""

NEVER = (
    "/proc",
    "/sys",
    "/dev",
    "/tests",
    "/solution",
    "/logs/verifier",
    "/.dockerenv",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
)
"""Folders and files that are the farm's or the engine's own."""

SYSTEM = (
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/local/lib",
)
"""Where programs and libraries lie: what is there already stays as it was, new things may come if they hide nothing."""

HOOKS = (
    "/etc/ld.so.*",
    "/etc/ld-musl*",
    "/etc/environment",
    "/etc/profile",
    "/etc/profile.d",
    "/etc/profile.d/*",
    "/etc/bash.bashrc",
    "/etc/bashrc",
    "/etc/zsh*",
    "/etc/perl",
    "/etc/perl/*",
    "/etc/python*",
    "/etc/pip.conf",
    "/etc/alternatives",
    "/etc/alternatives/*",
    "/etc/nsswitch.conf",
    "/etc/pam.*",
    "/etc/security",
    "/etc/security/*",
    "/etc/ssl/openssl.cnf",
    "/etc/gitconfig",
    "/etc/curlrc",
    "/etc/wgetrc",
    # pytest looks for these in the folder of the tests and in every one above it
    "/conftest.py",
    "/pytest.ini",
    "/.pytest.ini",
    "/pytest.toml",
    "/.pytest.toml",
    "/tox.ini",
    "/setup.cfg",
    "/setup.py",
    "/pyproject.toml",
    "/__init__.py",
    # the home of the user who runs the tests
    "/root/.bash*",
    "/root/.profile",
    "/root/.zsh*",
    "/root/.zprofile",
    "/root/.kshrc",
    "/root/.curlrc",
    "/root/.wgetrc",
    "/root/.pip",
    "/root/.pip/*",
    "/root/.config/pip",
    "/root/.config/pip/*",
    "/root/.config/uv",
    "/root/.config/uv/*",
    "/root/.npmrc",
    "/root/.local/bin/env",
)
"""Files that shells, interpreters and the loader read at start; `*` matches `/` too."""

LIBRARY_HOOKS = (
    "*/perl*/*",
    "*/site_perl*",
    "*/ruby/*",
    "*/gconv*",
    "*/ossl-modules*",
    "*/engines-*",
    "*/security/*",
    "*/sasl2/*",
    "*/git-core/*",
    "*/libnss_*",
    "*/glibc-hwcaps*",
    "*/tls/*",
)
"""New files in folders of libraries that programs of the system would load unasked."""

HARNESS = re.compile(
    r"(?:ba|da|z|k|a)?sh|env|busybox|python[\d.]*|pip[\d.]*|uvx?|pipx|poetry|pytest|py\.test|tox|nox|curl|wget|git|make|"
    r"node|npm|npx|yarn|pnpm|corepack|bats|perl|ruby|cargo|go|java|jq|awk|[gm]awk|sed|grep|diff|cmp|cat|test|\["
)
"""Names of programs that tests run: an agent cannot bring one of its own."""

_GUARDED = frozenset(
    str(parent) for path in (*NEVER, *HOOKS) if path.startswith("/") for parent in PurePosixPath(path).parents
)
_HOOKS = re.compile("|".join(map(translate, HOOKS)))
_LIBRARY_HOOKS = re.compile("|".join(map(translate, LIBRARY_HOOKS)))
_MODULE = re.compile(r"(\w+)(?:/__init__)?(?:\.[^/]+)?\.(?:py|pyc|so)")
_PACKAGES = re.compile(r"/(?:site|dist)-packages/([^/]+)(/.*)?$")


@dataclass(frozen=True)
class Tree:
    """The paths of an untouched sandbox, and its PATH."""

    directories: frozenset[str]
    links: frozenset[str]
    files: frozenset[str]
    path: tuple[str, ...]
    workdir: str = "/"
    accounts: Mapping[str, bytes] = field(default_factory=dict)  # what the files in ACCOUNTS hold
    commands: frozenset[str] = field(init=False)
    libraries: frozenset[str] = field(init=False)
    modules: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        split = [name.rpartition("/") for name in self.links | self.files]
        object.__setattr__(self, "commands", frozenset(name for parent, _, name in split if parent in self.path))
        object.__setattr__(self, "libraries", frozenset(name for _, _, name in split if ".so" in name))
        packages = (_PACKAGES.search(path) for path in (*self.directories, *self.links, *self.files))
        object.__setattr__(self, "modules", frozenset(match[1].split(".")[0] for match in packages if match))

    def __contains__(self, path: str) -> bool:
        return path in self.directories or path in self.links or path in self.files


@dataclass(frozen=True)
class Policy:
    """What may be carried over: `allow` are globs of what the task says its tests must see all the same."""

    tree: Tree
    allow: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None  # carry nothing but these paths and what is below them

    def refusal(self, path: str, *, folder: bool) -> str | None:
        """Why a path that the agent made, changed or deleted is not carried over; None when it is."""
        if any(below(path, root) for root in NEVER):
            return "it is the farm's"
        if self.only is not None:
            return None if any(below(path, root) for root in self.only) else "it is no artefact of the task"
        if any(fnmatchcase(path, glob) or below(path, glob) for glob in self.allow):
            return None
        if _HOOKS.match(path):
            return "it steers shells or interpreters"
        if path in _GUARDED and not folder:
            return "it leads to what is the system's"
        return self._system(path, folder) or self._python(path) or self._beside_tests(path)

    def turned(self, path: str, data: bytes | None) -> str | None:
        """Why the new content of a file in ACCOUNTS is not carried over (None: it is no file any more).

        New users and groups are.
        """
        if path not in ACCOUNTS or self.only is not None or any(fnmatchcase(path, glob) for glob in self.allow):
            return None
        if data is None:
            return "it leads to accounts of another place"
        known = dict(_accounts(self.tree.accounts.get(path, b""), ACCOUNTS[path]))
        if any(known.get(name, ids) != ids for name, ids in _accounts(data, ACCOUNTS[path])):
            return "it gives an account of the image other ids"
        return None

    def _system(self, path: str, folder: bool) -> str | None:
        roots = (*SYSTEM, *self.tree.path)
        if any(below(root, path) for root in roots):  # a system folder, or one that leads to it
            return None if folder and path not in self.tree else "it is the system's"
        parent, _, name = path.rpartition("/")
        on_path = parent in self.tree.path
        if HARNESS.fullmatch(name) and (on_path or parent in {"/root/bin", "/root/.local/bin"}):
            return "it has the name of a program that tests run"
        if not any(below(path, root) for root in roots):
            return None
        if path in self.tree:
            return "it is the system's"
        if on_path and name in self.tree.commands:
            return "it shadows a command"
        if name in self.tree.libraries:
            return "it shadows a library"
        if _LIBRARY_HOOKS.match(path):
            return "it steers programs of the system"
        return None

    def _beside_tests(self, path: str) -> str | None:
        """`python -m pytest` imports from the working directory before anything else."""
        workdir = self.tree.workdir.rstrip("/")
        if path in self.tree or not path.startswith(f"{workdir}/"):
            return None
        match = _MODULE.fullmatch(path[len(workdir) + 1 :])
        if match is None or (match[1] not in self.tree.modules and match[1] not in sys.stdlib_module_names):
            return None
        return "it can replace what the tests import"

    def _python(self, path: str) -> str | None:
        """The interpreters on the PATH: neither their standard library nor what they import at start."""
        for folder in self.tree.path:
            if not path.startswith(f"{folder.rpartition('/')[0]}/lib/python"):
                continue
            packages = _PACKAGES.search(path)
            if packages is None:
                new_folder = path not in self.tree and re.search(r"/python[\d.]*(/(site|dist)-packages)?$", path)
                return None if new_folder else "it is the interpreter's"
            top, rest = packages[1], packages[2] or ""
            module = top.split(".")[0]
            if top.endswith(".pth") or module in {"sitecustomize", "usercustomize"}:
                return "the interpreter reads it at start"
            if path in self.tree or rest == "/entry_points.txt" or module in self.tree.modules:
                return "it can replace what the tests import"
        return None


def _accounts(data: bytes, fields: tuple[int, ...]) -> Iterator[tuple[bytes, list[bytes]]]:
    """Each account's name and ids."""
    for line in data.splitlines():
        parts = line.split(b":")
        yield parts[0].strip(), [parts[at].strip() if at < len(parts) else b"" for at in fields]


def below(path: str, root: str) -> bool:
    """Whether a path is another, or lies in it."""
    return path == root or path.startswith(root.rstrip("/") + "/")
