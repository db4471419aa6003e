"""The leak gate: looks for the fix in the image that the agent gets, and names every place where it is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from envfarm.tasks.factory import packed
from envfarm.tasks.spec import Task
from envfarm.toolbox.errors import ImageError, SandboxError, TaskError
from envfarm.toolbox.sandboxes.base import ExecResult, Sandbox

SHORTEST = 24
"""Characters of a line that tells a fix; shorter ones stand in any code. A fix without such a line is told by all."""

_PRUNE = r"\( -path /proc -o -path /sys -o -path /dev -o -path /verifier \) -prune -o"
_DOCS = r"! -path '/usr/share/doc/*' ! -path '/usr/share/man/*' ! -path '/usr/share/info/*' ! -path '/var/lib/dpkg/*'"
# busybox's grep has no -a and needs none; a grep that cannot do this must not pass for one that found nothing.
_GREP = """export LC_ALL=C
text=; echo x | grep -a x > /dev/null 2>&1 && text=-a
patterns=$(mktemp) && trap 'rm -f $patterns' EXIT && cat > $patterns || exit 3
find $patterns -print0 | xargs -0 grep $text -Fo -m 1 -H -f $patterns > /dev/null || [ ! -s $patterns ] || exit 3
"""
_PACKED = ("zip", "whl", "egg", "jar", "gz", "tgz", "bz2", "tbz2", "xz", "txz", "crate", "pack")
_CACHES = (
    "/root/.cache",
    "/root/.npm",
    "/root/.cargo/registry",
    "/usr/local/cargo/registry",
    "/go/pkg/mod/cache/download",
)
_ANSWER = 16 << 20  # bytes of grep's own answer
_MOST = 256 << 20  # bytes of packed files that one image may have searched


@dataclass(frozen=True, slots=True)
class Leak:
    """One place where the fix can be read."""

    place: str
    what: str
    line: str = ""  # of the fix

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


async def leaks(task: Task, sandbox: Sandbox) -> list[Leak]:
    """Every place in a fresh sandbox of the agent's image that gives the fix away; empty for a clean image.

    Searched are the lines that solution/fix.patch adds; those in `leak_allow` are let pass. Raises SandboxError.
    """
    table = task.config.envfarm
    patch = task.path / "solution" / "fix.patch"
    text = patch.read_text("utf-8", "surrogateescape") if patch.is_file() else ""
    lines = distinctive(text) - {line.strip() for line in table.leak_allow}
    found = await search(sandbox, lines)
    found += await history(sandbox, table.repository, lines)
    found += await compiled(sandbox)
    source = table.source
    if source.name and source.new and source.registry != "git":
        found += await releases(sandbox, source.name, source.new)
    return found


def distinctive(patch: str) -> set[str]:
    """The lines that a patch adds and that tell it: stripped, long enough, nowhere in what it takes away or keeps."""
    added: set[str] = set()
    other: set[str] = set()
    for line in patch.splitlines():
        if line.startswith(("+++ ", "--- ", "diff --git ", "index ", "@@ ")):
            continue
        (added if line.startswith("+") else other).add(line[1:].strip())
    new = {line for line in added - other if re.search(r"\w\W+\w", line)}
    return {line for line in new if len(line) >= SHORTEST} or new


async def search(sandbox: Sandbox, lines: Collection[str]) -> list[Leak]:
    """Files of the image that hold one of the lines, also inside archives and compressed files."""
    if not lines:
        return []
    patterns = _patterns(lines)
    result = await sandbox.run(
        _grep("-m 1 -H"), user="root", cwd="/", timeout=300, stdin=patterns, output_limit=_ANSWER
    )
    _check(result)
    found: dict[str, Leak] = {}
    for row in result.stdout.decode("utf-8", "surrogateescape").splitlines():
        place, _, line = row.partition(":")
        found.setdefault(place, Leak(place, f"holds a line of the fix: {line[:120]}", line))
    return [*found.values(), *await _packed(sandbox, patterns)]


async def common(sandbox: Sandbox, lines: Collection[str]) -> set[str]:
    """Those of the lines that stand in some file of an image, and so tell nothing."""
    if not lines:
        return set()
    result = await sandbox.run(
        _grep("-h"), user="root", cwd="/", timeout=300, stdin=_patterns(lines), output_limit=_ANSWER
    )
    _check(result)
    matches = result.stdout.decode("utf-8", "surrogateescape").splitlines()
    return {line for line in lines if any(line in match for match in matches)}


def _grep(options: str) -> str:
    return (
        f"{_GREP}find / {_PRUNE} -type f ! -path $patterns -print0 "
        f"| {{ xargs -0 grep $text -Fo {options} -f $patterns || true; }}"
    )


def _patterns(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in sorted(lines)).encode("utf-8", "surrogateescape")


async def _packed(sandbox: Sandbox, patterns: bytes) -> list[Leak]:
    """The same inside what grep cannot read; unpacked here, because an image may have no tool for it."""
    suffixes = " -o ".join(f"-name '*.{suffix}'" for suffix in _PACKED)
    caches = " -o ".join(f"-path '{cache}/*'" for cache in _CACHES)
    script = f"""find / {_PRUNE} -type f \\( {suffixes} -o {caches} \\) {_DOCS} -print | while IFS= read -r file; do
  [ -f "$file" ] || continue
  size=$(wc -c < "$file") && printf '%s %s\\n' $size "$file" && cat "$file" || exit 1
done"""
    result = await sandbox.run(script, user="root", cwd="/", timeout=300, output_limit=_MOST)
    if result.truncated:
        return [Leak("/", f"has more than {_MOST >> 20} MiB of archives and caches; remove them in the Dockerfile")]
    _check(result)
    wanted = patterns.split(b"\n")[:-1]
    found = []
    for place, data in _framed(result.stdout):
        if line := packed.find(data, wanted):
            found.append(Leak(place, f"holds, packed, a line of the fix: {line.decode(errors='replace')[:120]}"))
    return found


def _framed(stream: bytes) -> Iterator[tuple[str, bytes]]:
    """Files as the script writes them: a line with the size and the path, then the content."""
    at = 0
    while at < len(stream):
        end = stream.index(b"\n", at)
        size, _, place = stream[at:end].partition(b" ")
        at = end + 1 + int(size)
        yield place.decode("utf-8", "surrogateescape"), stream[end + 1 : at]


async def history(sandbox: Sandbox, repository: str, lines: Collection[str]) -> list[Leak]:
    """What git knows beyond one fresh commit: more commits, remotes, a reflog, objects with lines of the fix."""
    script = f"""{_GREP}
cd {shlex.quote(repository)} || exit 4
[ -e .git ] || exit 0
command -v git > /dev/null || {{ echo "cannot be searched: the image has no git"; exit 0; }}
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
commits=$(git cat-file --batch-all-objects --batch-check='%(objecttype)' | grep -c '^commit$')
[ "$commits" = 1 ] || echo "holds $commits commits, not one"
[ -z "$(git remote)" ] || echo "names a remote: $(git remote -v | head -n 1)"
[ -z "$(git reflog --all 2>/dev/null | tail -n +2)" ] || echo "keeps a reflog"
[ -z "$(git tag)" ] || echo "has tags"
[ ! -e .git/ORIG_HEAD ] && [ ! -e .git/FETCH_HEAD ] || echo "names where it came from (ORIG_HEAD, FETCH_HEAD)"
if [ -s $patterns ]; then
  git cat-file --batch-all-objects --batch | grep $text -Fo -m 1 -f $patterns |
    sed 's/^/has an object with a line of the fix: /'
fi"""
    result = await sandbox.run(script, user="root", cwd="/", timeout=120, stdin=_patterns(lines))
    if result.exit_code == 4:
        raise TaskError(f"the image has no folder {repository}; put the code there, or name its place: repository")
    _check(result)
    return [Leak(f"{repository}/.git", line) for line in result.stdout.decode(errors="replace").splitlines()]


async def compiled(sandbox: Sandbox) -> list[Leak]:
    """Python's compiled files whose source is gone: they may be of the fixed release, and can be decompiled."""
    script = f"""find / {_PRUNE} -type f -name '*.pyc' -print | while read -r file; do
  folder=${{file%/*}}; name=${{file##*/}}
  case $folder in */__pycache__) source=${{folder%/__pycache__}}/${{name%%.*}}.py ;; *) source=${{file%c}} ;; esac
  [ -e "$source" ] || echo "$file"
done"""
    result = await sandbox.run(script, user="root", cwd="/", timeout=120)
    places = result.stdout.decode(errors="replace").splitlines()
    return [Leak(place, "is compiled Python without its source") for place in places]


async def releases(sandbox: Sandbox, name: str, version: str) -> list[Leak]:
    """Files and folders that bear the fixed release's name: wheels, archives, metadata, module caches."""
    last = name.rpartition("/")[2]
    spellings = {name, last, last.replace("-", "_"), last.replace("_", "-"), last.replace("-", ".")}
    bare = version.removeprefix("v")
    tests = " -o ".join(
        f"-iname '{re.sub(r'([][*?])', r'?', f'{spelling}{mark}{bare}')}{tail}'"
        for spelling in sorted(spelling for spelling in spellings if "/" not in spelling)
        for mark in ("-", "@v", "@")
        for tail in ("", "[!0-9]*")
    )
    result = await sandbox.run(f"find / {_PRUNE} \\( {tests} \\) -print", user="root", cwd="/", timeout=120)
    places = result.stdout.decode(errors="replace").splitlines()
    return [Leak(place, f"bears the name of the fixed release {name} {version}") for place in places]


def _check(result: ExecResult) -> None:
    if result.exit_code == 3:
        raise ImageError("the leak gate cannot search the image: its find, xargs or grep cannot do what that takes")
    if result.exit_code != 0:
        why = result.stderr.decode(errors="replace").strip()[-300:] or f"exit code {result.exit_code}"
        raise SandboxError(f"the leak gate could not search the image: {why}")
