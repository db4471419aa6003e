import hashlib
import json
import os
import re
import sys
import zlib

sys.path.insert(0, "/tests")
from harness import check, main, run  # noqa: E402

REPO = "/app/repo"
SECRETS = re.compile(rb"-----BEGIN DEPLOY KEY-----|tok_live_[A-Za-z0-9]{24}")
with open("/tests/expected.json") as file:
    EXPECTED = json.load(file)


def git(*args, stdin=b""):
    """Plumbing only, as nobody: the repository's configuration and hooks are the agent's."""
    safe = ["-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
    env = {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    code, out, err = run(["git", "--git-dir", f"{REPO}/.git", *safe, *args], stdin=stdin, timeout=30, env=env)
    assert code == 0, (args, code, err[-500:])
    return out


def objects():
    """Every object that git can find, reachable or not: id to (type, content)."""
    listing = git("cat-file", "--batch-all-objects", "--batch", "--unordered")
    found, at = {}, 0
    while at < len(listing):
        end = listing.index(b"\n", at)
        name, kind, size = listing[at:end].decode().split()
        content = listing[end + 1 : end + 1 + int(size)]
        assert hashlib.sha1(f"{kind} {size}\0".encode() + content).hexdigest() == name
        found[name] = (kind, content)
        at = end + 2 + int(size)
    return found


def tree(store, name, prefix=""):
    files, content = {}, store[name][1]
    while content:
        mode, _, content = content.partition(b" ")
        path, _, content = content.partition(b"\0")
        child, content = content[:20].hex(), content[20:]
        place = prefix + path.decode()
        files.update(tree(store, child, place + "/") if mode == b"40000" else {place: [mode.decode(), child]})
    return files


def commit(store, name, seen):
    """What a commit is, without ids of commits: its tree, its people and dates, its message, its parents."""
    if name not in seen:
        header, _, message = store[name][1].decode().partition("\n\n")
        lines = [line.split(" ", 1) for line in header.split("\n")]
        parents = [commit(store, value, seen) for key, value in lines if key == "parent"]
        people = [value for key, value in lines if key in ("author", "committer")]
        files = tree(store, dict(lines)["tree"])
        what = json.dumps([sorted(files.items()), people, message, parents])
        seen[name] = hashlib.sha256(what.encode()).hexdigest()
    return seen[name]


def describe(store):
    """Branches and tags, each with what it stands for."""
    refs, seen = {}, {}
    for line in git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags").decode().splitlines():
        ref, name = line.split()
        kind, content = store[name]
        if kind == "tag":
            header, _, message = content.decode().partition("\n\n")
            fields = dict(item.split(" ", 1) for item in header.split("\n"))
            refs[ref] = ["tag", fields["tag"], fields["tagger"], message, commit(store, fields["object"], seen)]
        else:
            refs[ref] = ["commit", commit(store, name, seen)]
    return refs


@check
def nothing_of_the_secrets_is_left():
    for name, (_, content) in objects().items():
        assert not SECRETS.search(content), f"object {name}"
    for folder, _, names in os.walk(REPO):
        for name in names:
            path = f"{folder}/{name}"
            if os.path.islink(path):
                continue
            with open(path, "rb") as file:
                content = file.read()
            assert not SECRETS.search(content), path
            if re.search(r"/objects/[0-9a-f]{2}$", folder):
                assert not SECRETS.search(zlib.decompress(content)), path


@check
def everything_else_is_as_it_was():
    found = describe(objects())
    assert sorted(found) == sorted(EXPECTED["refs"]), sorted(found)
    for ref, what in EXPECTED["refs"].items():
        assert found[ref] == what, f"{ref}: {found[ref]} is not {what}"


@check
def main_is_checked_out_and_clean():
    with open(f"{REPO}/.git/HEAD") as file:
        assert file.read().strip() == "ref: refs/heads/main"
    on_disk = {}
    for folder, folders, names in os.walk(REPO):
        folders[:] = [name for name in folders if os.path.join(folder, name) != f"{REPO}/.git"]
        for name in names:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                mode, content = "120000", os.readlink(path).encode()
            else:
                mode = "100755" if os.access(path, os.X_OK) and os.stat(path).st_mode & 0o100 else "100644"
                with open(path, "rb") as file:
                    content = file.read()
            blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
            on_disk[os.path.relpath(path, REPO)] = [mode, blob]
    assert on_disk == EXPECTED["worktree"], on_disk
    staged = git("ls-files", "-s").decode().splitlines()
    assert sorted(line.split()[1] for line in staged) == sorted(blob for _, blob in EXPECTED["worktree"].values())


@check
def the_repository_is_healthy():
    git("fsck", "--full", "--strict")


if __name__ == "__main__":
    main()
