import os
import random
import shutil
import stat
import sys
import tempfile

sys.path.insert(0, "/tests")
from harness import check, main, run  # noqa: E402

WANTED = {"": (0o750, 0o640, 0o750), "public": (0o755, 0o644, 0o755), "shared": (0o2770, 0o660, 0o770), "secrets": (0o700, 0o600, 0o700)}
SCRIPT, ELF, TEXT = b"#!/bin/sh\n", b"\x7fELF\x02rest", b"text #!"
OWNER = 65534


class Tree:
    """A tree in the making: each entry with the mode it has at first and the one it should have."""

    def __init__(self, name="site"):
        self.base = tempfile.mkdtemp(prefix="deploy ", dir="/tmp")
        os.chmod(self.base, 0o755)
        self.root = f"{self.base}/{name}"
        self.want, self.first = {}, {}
        self.folder("")

    def path(self, name):
        return os.path.join(self.root, name) if name else self.root

    def rule(self, name):
        parts = [os.path.basename(self.root), *name.split("/")]
        special = [part for part in parts if part in ("public", "shared", "secrets")]
        return WANTED["secrets" if "secrets" in special else special[-1] if special else ""]

    def folder(self, name, mode=0o777):
        os.mkdir(self.path(name))
        self.first[name], self.want[name] = mode, self.rule(name)[0]

    def file(self, name, content=TEXT, mode=0o777):
        with open(self.path(name), "wb") as file:
            file.write(content)
        folder = os.path.dirname(name)
        self.first[name] = mode
        self.want[name] = self.rule(folder)[2 if content[:2] == b"#!" or content[:4] == b"\x7fELF" else 1]

    def keep(self, name, mode):
        """It is there and must stay as it is."""
        self.first[name] = self.want[name] = mode

    def settle(self):
        """Ownership and modes, from the leaves up; links have none."""
        for name in sorted(self.first, key=lambda name: -name.count("/") - (name != "")):
            os.chown(self.path(name), OWNER, OWNER, follow_symlinks=False)
            if not os.path.islink(self.path(name)):
                os.chmod(self.path(name), self.first[name])

    def tidy(self, status=0):
        self.settle()
        code, _, err = run(["/app/tidy-modes", self.root], timeout=20)
        assert code == status, (code, err[-300:])
        for name, mode in self.want.items():
            found = stat.S_IMODE(os.lstat(self.path(name)).st_mode)
            assert found == mode, f"{name!r}: {found:o}, not {mode:o}"
        return err


@check
def sets_ordinary_modes():
    tree = Tree()
    tree.folder("bin")
    tree.folder("Public")
    tree.folder("public_html", 0o700)
    tree.file("bin/readme")
    tree.file("run.sh", TEXT)
    tree.file("start", SCRIPT, 0o600)
    tree.file("bin/server", ELF, 0o6755)
    tree.file("data.txt", TEXT, 0o4644)
    tree.file("empty", b"", 0o1777)
    tree.file("almost", b"\x7fEL", 0o755)
    tree.file("Public/notes", b"# no program", 0o604)
    tree.tidy()


@check
def knows_special_folders():
    tree = Tree()
    for folder in (
        "public", "public/img", "public/secrets", "public/secrets/public", "public/shared", "public/shared/deep",
        "shared", "shared/public", "secrets", "secrets/shared", "secrets/shared/public", "a", "a/b", "a/b/shared",
    ):  # fmt: skip
        tree.folder(folder, random.choice([0o777, 0o700, 0o2777, 0o1755]))
        tree.file(f"{folder}/text", TEXT, random.choice([0o777, 0o600]))
        tree.file(f"{folder}/tool", SCRIPT, random.choice([0o777, 0o644]))
    tree.tidy()
    for name in ("secrets", "shared", "public"):
        tree = Tree(name)
        tree.folder("public")
        tree.file("public/text")
        tree.file("tool", ELF)
        tree.tidy()


@check
def leaves_links_and_their_targets_alone():
    tree = Tree()
    outside = f"{tree.base}/outside"
    os.mkdir(outside)
    for name, mode in (("tool", 0o777), ("text", 0o604)):
        with open(f"{outside}/{name}", "wb") as file:
            file.write(SCRIPT)
        os.chmod(f"{outside}/{name}", mode)
        os.chown(f"{outside}/{name}", OWNER, OWNER)
    os.chmod(outside, 0o777)
    os.chown(outside, OWNER, OWNER)
    tree.folder("public")
    tree.file("public/inside", TEXT)
    for name, target in (("to file", f"{outside}/tool"), ("to folder", "../outside"), ("dangling", "nowhere"), ("secrets", "public"), ("loop", ".")):
        os.symlink(target, tree.path(name))
    tree.tidy()
    assert stat.S_IMODE(os.stat(outside).st_mode) == 0o777
    assert stat.S_IMODE(os.stat(f"{outside}/tool").st_mode) == 0o777
    assert stat.S_IMODE(os.stat(f"{outside}/text").st_mode) == 0o604
    assert os.readlink(tree.path("to folder")) == "../outside"


@check
def opens_what_is_locked():
    tree = Tree()
    tree.folder("locked", 0)
    tree.folder("locked/more", 0o100)
    tree.file("locked/more/tool", SCRIPT, 0)
    tree.file("locked/more/text", TEXT, 0o333)
    tree.folder("public", 0o400)
    tree.file("public/page", TEXT, 0o200)
    tree.tidy()


@check
def leaves_hard_links_alone_and_says_so():
    tree = Tree()
    tree.folder("a")
    tree.file("a/one", TEXT)
    os.link(tree.path("a/one"), f"{tree.base}/elsewhere")
    tree.keep("a/one", 0o757)
    tree.file("a/tool", SCRIPT)
    os.mkfifo(tree.path("a/pipe"))
    tree.keep("a/pipe", 0o606)
    err = tree.tidy(status=1)
    assert b"a/one" in err
    assert b"pipe" not in err
    assert b"tool" not in err


@check
def copes_with_any_name():
    tree = Tree()
    names = ["-rf", "--help", "two\nlines", " lead", "trail ", "*", "a;touch x", "quote'\"", "\\n", "caf\udce9", "$(id)", "☃"]
    for number, name in enumerate(names):
        tree.folder(name)
        tree.file(f"{name}/{names[number - 1]}", random.choice([TEXT, SCRIPT]))
    tree.folder("a/public".replace("/", "\n"))
    tree.file("a\npublic/x", TEXT)
    tree.tidy()


@check
def touches_only_what_is_wrong():
    tree = Tree()
    tree.folder("shared", 0o2770)
    tree.file("shared/tool", SCRIPT, 0o770)
    tree.file("text", TEXT, 0o640)
    tree.first[""] = 0o750
    tree.settle()
    before = {name: os.lstat(tree.path(name)).st_ctime_ns for name in tree.want}
    code, _, _ = run(["/app/tidy-modes", tree.root])
    assert code == 0
    assert {name: os.lstat(tree.path(name)).st_ctime_ns for name in tree.want} == before


@check
def is_quick():
    tree = Tree()
    for folder in range(20):
        tree.folder(f"d{folder}")
        for number in range(100):
            tree.file(f"d{folder}/{number}", TEXT)
    tree.tidy()
    shutil.rmtree(tree.base)


main()
