"""Reading Dockerfiles and writing them anew, without an engine."""

from __future__ import annotations

import pytest

from envfarm.toolbox.sandboxes.dockerfile import images, mode_of, parse, rewrite


def rewritten(text: str, **replace: str) -> str:
    named = {name.replace("_", ":"): image for name, image in replace.items()}
    return rewrite(parse(text), args={}, replace=named).text


@pytest.mark.parametrize(
    ("text", "args", "found"),
    [
        ("FROM debian:12\n", {}, ["debian:12"]),
        ("from debian:12 as build\nFROM build\nCOPY --from=build /a /a\nCOPY --from=0 /b /b", {}, ["debian:12"]),
        ("FROM --platform=$BUILDPLATFORM golang:1.19 AS b\nFROM scratch\nCOPY --from=B / /", {}, ["golang:1.19"]),
        ("FROM debian\nCOPY --from=ghcr.io/astral-sh/uv:0.4 /uv /bin/", {}, ["debian", "ghcr.io/astral-sh/uv:0.4"]),
        ("ARG TAG=3.11\nFROM python:${TAG}-slim", {}, ["python:3.11-slim"]),
        ("ARG TAG=3.11\nFROM python:$TAG", {"TAG": "3.12"}, ["python:3.12"]),
        ("ARG BASE\nFROM ${BASE:-debian:12}", {}, ["debian:12"]),
        ("ARG BASE\nFROM ${BASE}", {"BASE": "me/task:1"}, ["me/task:1"]),
        ("ARG A=x\nARG B=${A}y\nFROM $B:${NONE:+never}1", {}, ["xy:1"]),
        ("# FROM no\nFROM \\\n  # in between\n\n  debian:12 \\\n AS x\nRUN echo FROM no", {}, ["debian:12"]),
        ("# escape=`\nFROM `\ndebian:12\nRUN echo \\\n", {}, ["debian:12"]),
        ("FROM debian:12\nRUN <<EOF\nFROM inside\nEOF\nFROM alpine\r\n", {}, ["debian:12", "alpine"]),
    ],
)
def test_images_are_found(text: str, args: dict[str, str], found: list[str]) -> None:
    assert images(parse(text), args) == found


def test_base_images_are_replaced_and_nothing_else() -> None:
    text = 'ARG T=12\nFROM --platform=linux/arm64 debian:$T AS one\nRUN echo a \\\n  && echo b\nFROM one\nCMD ["x"]\n'
    assert rewritten(text, debian_12="local/base:1") == (
        'ARG T=12\nFROM local/base:1 AS one\nRUN echo a \\\n  && echo b\nFROM one\nCMD ["x"]\n'
    )


def test_the_prelude_follows_every_from() -> None:
    text = "FROM debian:12 AS a\nFROM a\nRUN x\n"
    new = rewrite(parse(text), args={}, replace={}, prelude=["ARG CA=/ca"])
    assert new.text == "FROM debian:12 AS a\nARG CA=/ca\nFROM a\nARG CA=/ca\nRUN x\n"


def test_here_documents_become_what_the_classic_builder_reads() -> None:
    text = (
        'FROM debian:12\nARG WHO=me\nRUN <<EOF\necho "a"\ncat b\nEOF\n'
        "RUN <<'PY' python3\nprint(1)\nPY\n"
        "RUN <<-EOF\n\t#!/usr/bin/env python3\n\tprint(2)\n\tEOF\n"
        "COPY --chmod=755 <<EOF <<'RAW' /etc/\nhello $WHO\nEOF\nhello $WHO\nRAW\n"
    )
    new = rewrite(parse(text), args={}, replace={})
    assert new.text.splitlines()[2:] == [
        r'RUN ["/bin/sh", "-c", "echo \"a\"\ncat b\n"]',
        r"""RUN ["/bin/sh", "-c", "<<'PY' python3\nprint(1)\nPY\n"]""",
        r'RUN ["/usr/bin/env", "python3", "-c", "#!/usr/bin/env python3\nprint(2)\n"]',
        "COPY .envfarm/0/EOF .envfarm/1/RAW /etc/",
    ]
    assert new.files == {".envfarm/0/EOF": "hello me\n", ".envfarm/1/RAW": "hello $WHO\n"}
    assert [mode_of(name, False, new.modes) for name in new.files] == [0o755, 0o755]


def test_what_only_buildkit_knows_is_taken_out() -> None:
    text = (
        "FROM debian:12\nARG TARGETARCH TARGETOS\nCOPY --link --from=x:1 /a /a\n"
        "RUN --mount=type=cache,target=/root/.cache,sharing=locked pip install six\n"
        "COPY --chmod=0755 --chown=1:1 bin/ run.sh /app/\n"
    )
    new = rewrite(parse(text), args={"TARGETOS": "mine"}, replace={"x:1": "y:1"})
    assert new.text.splitlines()[2:] == [
        "COPY --from=y:1 /a /a",
        "RUN pip install six",
        "COPY --chown=1:1 bin/ run.sh /app/",
    ]
    assert list(new.args) == ["TARGETARCH"]
    assert [mode_of(name, False, new.modes) for name in ("bin/x", "run.sh", "readme")] == [0o755, 0o755, 0o644]
