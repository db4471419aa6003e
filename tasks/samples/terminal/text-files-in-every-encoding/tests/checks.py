import os
import random
import stat
import sys
import tempfile
import unicodedata

sys.path.insert(0, "/tests")
from harness import check, main, read, run, write  # noqa: E402

LETTERS = "abc xyz 0189 äöüß éèê çñ ÅØ €„“”’–… Ωλ жщ 日本 😀 Ã Â ½ \t"
HOLES = {0x81, 0x8D, 0x8F, 0x90, 0x9D}
TABLE = [chr(byte) if byte in HOLES else bytes([byte]).decode("cp1252") for byte in range(256)]
MARKED = {"utf-8": "utf-8", "utf-16-le": "utf-16-le", "utf-16-be": "utf-16-be", "utf-32-le": "utf-32-le", "utf-32-be": "utf-32-be"}


def folder():
    place = tempfile.mkdtemp(prefix="notes ", dir="/tmp")
    os.chown(place, 65534, 65534)
    return place


def put(place, name, data, mode=0o644):
    path = f"{place}/{name}"
    write(path, data, mode)
    return path


def twice(text, times=1):
    """The accident: the bytes of UTF-8 taken for Windows-1252."""
    for _ in range(times):
        text = "".join(TABLE[byte] for byte in text.encode())
    return text


def becomes(cases):
    """cases: (what, bytes before, text after). All files in one call, then once more: nothing changes then."""
    place = folder()
    paths = [put(place, f"{number}.txt", before) for number, (_, before, _) in enumerate(cases)]
    for attempt in ("", ", the second time"):
        code, _, err = run(["/app/toutf8", *paths], timeout=15)
        assert code == 0, err.decode()
        for path, (what, before, after) in zip(paths, cases, strict=True):
            found = read(path)
            assert found == after.encode(), f"{what}{attempt}: {before!r} became {found!r}, not {after.encode()!r}"
    assert sorted(os.listdir(place)) == sorted(os.path.basename(path) for path in paths)


def some_line(letters=LETTERS):
    return "x" + "".join(random.choice(letters) for _ in range(random.randrange(3, 30))) + "日"


@check
def byte_order_marks_decide():
    text = "Größe 日本 😀\nnaïve\n"
    becomes([(name, ("\ufeff" + text).encode(form), text) for name, form in MARKED.items()])
    becomes([
        ("empty utf-16", b"\xff\xfe", ""), ("empty utf-32", b"\xff\xfe\0\0", ""), ("nul", "\ufeff\0a\n".encode("utf-16-be"), "\0a\n"),
        ("no mark", "Größe\n".encode("utf-16-le")[:2] + b"\xe9\n", "G\0é\n"),
    ])  # fmt: skip


@check
def the_rest_is_windows_1252():
    becomes([
        ("euro", b"3 \x80, \x93ja\x94 \x96 caf\xe9\n", "3 €, “ja” – café\n"),
        ("holes", b"\xe9\x81\x8d\x8f\x90\x9d\n", "é\x81\x8d\x8f\x90\x9d\n"),
        ("almost utf-8", "é\n".encode() + b"\xe9\n", "é\né\n"),
        ("cut off", "日".encode()[:2] + b"\n", "æ—\n"),
    ])  # fmt: skip


@check
def double_encoding_is_undone_by_line():
    line = "naïve “quoted” – 3 €, Привет, 日本 😀"
    assert twice(line) != line
    becomes([
        ("once", (twice(line) + "\n").encode(), line + "\n"),
        ("twice", (twice(line, 2) + "\n").encode(), line + "\n"),
        ("three times", (twice("Àéà", 3) + "\n").encode(), "Àéà\n"),
        ("mixed", "\n".join([line, twice(line), "Ã alone", twice("ñ", 2), "plain", ""]).encode(),
         "\n".join([line, line, "Ã alone", "ñ", "plain", ""])),
        ("through utf-16", ("\ufeff" + twice("é") + "\n").encode("utf-16-le"), "é\n"),
        ("windows line in 1252", b"\xc3\x83\xc2\xa9\n\xff\n", "é\nÿ\n"),
    ])  # fmt: skip


@check
def honest_lines_are_left_alone():
    lines = ["Ã und Â sind Buchstaben", "50 € – Ø 3", "Ångström", "©®", "SÃO PAULO", "Â", "äÄ", "\x80\x93"]
    becomes([(line, f"{line}\n".encode(), f"{line}\n") for line in lines])


@check
def line_ends_and_normal_form():
    becomes([
        ("crlf", b"a\r\nb\r\n", "a\nb\n"), ("cr", b"a\rb\r", "a\nb\n"), ("mixed", b"a\r\n\r\rb\n\r", "a\n\n\nb\n\n"),
        ("no end", b"a\nb", "a\nb\n"), ("empty", b"", ""), ("only cr", b"\r", "\n"), ("control", b"\x0b\x0c\x1b[0m\0\n", "\x0b\x0c\x1b[0m\0\n"),
        ("nfd", "cafe\u0301 A\u030a\n".encode(), "café Å\n"), ("separators", "a\u2028b\x85c\n".encode(), "a\u2028b\x85c\n"),
        ("doubly encoded nfd", (twice("cafe\u0301") + "\r\n").encode(), "café\n"),
    ])  # fmt: skip


@check
def any_text_works():
    cases = []
    for number in range(40):
        lines = [some_line() for _ in range(random.randrange(1, 5))]
        text = unicodedata.normalize("NFC", "".join(line + "\n" for line in lines))
        form = random.choice([*MARKED.values(), "plain", "accident"])
        if form == "plain":
            data = text.encode()
        elif form == "accident":
            data = "\r\n".join(twice(line, random.randrange(0, 3)) for line in text.split("\n")).encode()
        else:
            data = ("\ufeff" + text.replace("\n", random.choice(["\n", "\r\n", "\r"]))).encode(form)
        cases.append((f"{form} {number}", data, text))
    becomes(cases)


@check
def broken_files_are_left_alone():
    place = folder()
    broken = [
        put(place, "odd.txt", b"\xff\xfea\0b"), put(place, "half pair.txt", b"\xff\xfe\x3d\xd8a\0"),
        put(place, "bad mark.txt", b"\xef\xbb\xbfcaf\xe9\n"), put(place, "utf32.txt", b"\0\0\xfe\xff\0\x11\0\0"),
    ]  # fmt: skip
    fine = [put(place, "first.txt", b"caf\xe9"), put(place, "last.txt", b"\xe9\r\n")]
    before = {path: read(path) for path in broken}
    code, _, err = run(["/app/toutf8", fine[0], *broken, f"{place}/missing.txt", fine[1]])
    assert code == 65, code
    for path in broken:
        assert read(path) == before[path], path
        assert os.path.basename(path) in err.decode(), path
    assert [read(path) for path in fine] == ["café\n".encode(), "é\n".encode()]


@check
def files_keep_what_they_are():
    place = folder()
    same = put(place, "same.txt", "schön\n".encode(), 0o444)
    os.utime(same, (10**9, 10**9))
    inode = os.stat(same).st_ino
    tool = put(place, "tool.txt", b"#!/bin/sh\r\necho \xe9\r\n", 0o750)
    os.mkdir(f"{place}/links")
    os.symlink("../tool.txt", f"{place}/links/to tool")
    os.lchown(f"{place}/links/to tool", 65534, 65534)
    os.chown(f"{place}/links", 65534, 65534)
    code, _, err = run(["/app/toutf8", same, f"{place}/links/to tool"])
    assert code == 0, err
    assert (os.stat(same).st_mtime, os.stat(same).st_ino) == (10**9, inode)
    assert os.path.islink(f"{place}/links/to tool")
    assert read(tool) == "#!/bin/sh\necho é\n".encode()
    assert stat.S_IMODE(os.stat(tool).st_mode) == 0o750
    assert sorted(os.listdir(place)) == ["links", "same.txt", "tool.txt"]
    assert os.listdir(f"{place}/links") == ["to tool"]


main()
