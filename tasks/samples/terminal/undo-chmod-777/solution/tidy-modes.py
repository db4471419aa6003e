#!/usr/bin/env python3
"""tidy-modes DIR: sets the modes of a deployment by its rules."""
import os
import stat
import sys

MODES = {  # folders, files, programs
    "": (0o750, 0o640, 0o750),
    "public": (0o755, 0o644, 0o755),
    "shared": (0o2770, 0o660, 0o770),
    "secrets": (0o700, 0o600, 0o700),
}
status = 0


def complain(path, what):
    global status
    status = 1
    os.write(2, b"tidy-modes: " + path + b": " + os.fsencode(what) + b"\n")


def set_mode(path, now, wanted):
    if stat.S_IMODE(now.st_mode) != wanted:
        os.chmod(path, wanted)


def is_program(path, now):
    mode = stat.S_IMODE(now.st_mode)
    if not mode & 0o400:
        os.chmod(path, 0o400)  # to look inside; the right mode comes next
    with open(path, "rb") as file:
        start = file.read(4)
    return start.startswith(b"#!") or start == b"\x7fELF"


def tidy(path, kind):
    try:
        now = os.lstat(path)
        if stat.S_ISDIR(now.st_mode):
            name = os.fsdecode(os.path.basename(path))
            if kind != "secrets" and name in MODES:
                kind = name
            set_mode(path, now, MODES[kind][0])  # before we go in: it may be locked
            for entry in sorted(os.listdir(path)):
                tidy(os.path.join(path, entry), kind)
        elif stat.S_ISREG(now.st_mode):
            if now.st_nlink > 1:
                complain(path, "has several hard links, left alone")
                return
            program = is_program(path, now)
            set_mode(path, os.lstat(path), MODES[kind][2 if program else 1])
    except OSError as error:
        complain(path, error.strerror)


sys.setrecursionlimit(100_000)
tidy(os.fsencode(os.path.realpath(sys.argv[1])), "")
sys.exit(status)
