#!/usr/bin/env python3
"""toutf8 FILE...: converts text files to clean UTF-8, in place."""
import codecs
import os
import sys
import tempfile
import unicodedata

MARKS = [  # the longer ones first: UTF-32-LE begins like UTF-16-LE
    (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"), (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
]
TO_TEXT = {byte: bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(256)}
TO_BYTE = {text: byte for byte, text in TO_TEXT.items()}


def decode(data):
    for mark, name in MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(TO_TEXT[byte] for byte in data)


def repair(line):
    while not line.isascii() and all(character in TO_BYTE for character in line):
        try:
            line = bytes(TO_BYTE[character] for character in line).decode("utf-8")
        except UnicodeDecodeError:
            break
    return line


def convert(data):
    text = decode(data).replace("\r\n", "\n").replace("\r", "\n")
    text = "\n".join(repair(line) for line in text.split("\n"))
    if text and not text.endswith("\n"):
        text += "\n"
    return unicodedata.normalize("NFC", text).encode("utf-8")


def main():
    status = 0
    for path in sys.argv[1:]:
        try:
            path = os.path.realpath(path)
            with open(path, "rb") as file:
                data = file.read()
            new = convert(data)
            if new != data:
                fd, other = tempfile.mkstemp(dir=os.path.dirname(path))
                with open(fd, "wb") as file:
                    file.write(new)
                os.chmod(other, os.stat(path).st_mode & 0o7777)
                os.replace(other, path)
        except (OSError, UnicodeError) as error:
            print(f"toutf8: {path}: {error}", file=sys.stderr)
            status = 65
    sys.exit(status)


main()
