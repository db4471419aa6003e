import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, "/tests")
from harness import check, main, read, run, write  # noqa: E402

SOURCES = ["mktokens.sh", "tokens.txt", "limits.h", "expr.h", "lex.c", "eval.c", "main.c"]
PRISTINE = "/app"  # this machine is fresh: only the Makefile comes from the agent


def checkout():
    folder = tempfile.mkdtemp(prefix="calc-", dir="/tmp")
    for name in SOURCES:
        shutil.copy(f"{PRISTINE}/{name}", folder)
    text = read("/app/Makefile")
    with open(f"{folder}/Makefile", "wb") as file:
        file.write(text)
    subprocess.run(["chown", "-R", "nobody:nogroup", folder], check=True)
    age(folder)
    return folder


def age(folder):
    """Make everything older, so that what is touched next is newer however coarse the clock is."""
    for name in os.listdir(folder):
        stat = os.lstat(f"{folder}/{name}")
        os.utime(f"{folder}/{name}", ns=(stat.st_mtime_ns - 10**10, stat.st_mtime_ns - 10**10), follow_symlinks=False)


def edit(folder, name, old, new):
    age(folder)
    text = read(f"{folder}/{name}").decode()
    assert old in text, (name, old)
    write(f"{folder}/{name}", text.replace(old, new).encode())


def make(folder, *args, ok=True):
    code, out, err = run(["make", *args], cwd=folder, timeout=30)
    assert (code == 0) == ok, (args, code, out, err)
    return out + err


def calc(folder, text):
    code, out, err = run(["./calc", text], cwd=folder)
    return out.decode().strip() if code == 0 else err.decode().strip()


def times(folder):
    return {name: os.stat(f"{folder}/{name}").st_mtime_ns for name in os.listdir(folder)}


@check
def builds_at_the_first_try():
    folder = checkout()
    make(folder)
    assert calc(folder, "2^3^2 - (4+1)*-2") == "522", calc(folder, "2^3^2 - (4+1)*-2")


@check
def builds_in_parallel():
    for jobs in ("-j8", "-j3"):
        folder = checkout()
        make(folder, jobs)
        assert calc(folder, "7*6") == "42"


@check
def does_nothing_when_nothing_changed():
    folder = checkout()
    make(folder, "-j4")
    make(folder, "-q")
    before = times(folder)
    make(folder)
    assert times(folder) == before


@check
def a_header_rebuilds_what_needs_it_only():
    folder = checkout()
    make(folder)
    deep = "(" * 30 + "1" + ")" * 30
    assert calc(folder, deep) == "too deep"
    edit(folder, "limits.h", "20", "40")
    before = times(folder)
    make(folder)
    after = times(folder)
    assert calc(folder, deep) == "1"
    for name in ("lex.o", "main.o", "tokens.h"):
        if name in before:
            assert after[name] == before[name], f"{name} was made again"


@check
def tokens_reach_the_program():
    folder = checkout()
    make(folder)
    edit(folder, "tokens.txt", "TIMES *", "TIMES x")
    make(folder, "-j8")
    assert calc(folder, "6x7") == "42"
    assert "bad character" in calc(folder, "6*7")


@check
def headers_added_later_count():
    folder = checkout()
    make(folder)
    edit(folder, "main.c", '#include "expr.h"', '#include "expr.h"\n#include "greeting.h"')
    edit(folder, "main.c", '"%.10g', 'GREETING "%.10g')
    write(f"{folder}/greeting.h", b'#include "inner.h"\n')
    write(f"{folder}/inner.h", b'#define GREETING "a "\n')
    make(folder)
    assert calc(folder, "1+1") == "a 2"
    edit(folder, "inner.h", '"a "', '"b "')
    make(folder)
    assert calc(folder, "1+1") == "b 2"


@check
def a_failed_generator_is_not_believed():
    folder = checkout()
    make(folder)
    edit(folder, "tokens.txt", "CLOSE )", "CLOSE ]\nMODULO %%")
    edit(folder, "tokens.txt", "OPEN (", "OPEN [")
    make(folder, ok=False)
    make(folder, ok=False)
    edit(folder, "tokens.txt", "MODULO %%", "MODULO %")
    make(folder)
    assert calc(folder, "[1+2]*3") == "9"


@check
def clean_removes_what_make_made():
    folder = checkout()
    before = sorted(os.listdir(folder))
    make(folder, "-j8")
    make(folder, "clean")
    assert sorted(os.listdir(folder)) == before, sorted(os.listdir(folder))
    make(folder, "clean")


main()
