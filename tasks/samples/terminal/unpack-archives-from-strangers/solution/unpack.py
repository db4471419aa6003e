#!/usr/bin/env python3
"""unpack ARCHIVE DEST: into a staging folder first, which is renamed when all is well."""
import lzma
import os
import shutil
import stat
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib

LIMIT = 16 << 20


class Refused(Exception):
    pass


class Entry:
    def __init__(self, name, kind, mode=0o644, mtime=None, target="", read=None):
        self.parts = clean(name)
        self.kind, self.mode, self.mtime, self.target, self.read = kind, mode, mtime, target, read


def clean(name):
    if name.startswith("/") or "\0" in name:
        raise Refused(f"absolute name {name!r}")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Refused(f"{name!r} climbs out")
    return tuple(parts)


def from_tar(tar):
    for info in tar:
        if info.isdir():
            yield Entry(info.name, "folder")
        elif info.issym():
            yield Entry(info.name, "link", target=info.linkname)
        elif info.islnk():
            yield Entry(info.name, "hard", target=info.linkname)
        elif info.isreg():
            yield Entry(info.name, "file", info.mode, info.mtime, read=lambda info=info: tar.extractfile(info))
        else:
            raise Refused(f"{info.name!r} is neither a file, a folder nor a link")


def from_zip(archive):
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")
        if len(name) > 1 and name[1] == ":":
            raise Refused(f"{name!r} names a drive")
        mode = info.external_attr >> 16 if info.create_system == 3 else 0
        kind = stat.S_IFMT(mode)
        if name.endswith("/") or kind == stat.S_IFDIR:
            yield Entry(name, "folder")
        elif kind == stat.S_IFLNK:
            yield Entry(name, "link", target=archive.read(info).decode())
        elif kind in (0, stat.S_IFREG):
            mtime = time.mktime((*info.date_time, 0, 0, -1))
            yield Entry(name, "file", mode or 0o644, mtime, read=lambda info=info: archive.open(info))
        else:
            raise Refused(f"{name!r} is neither a file, a folder nor a link")


def lay(entries, root):
    """Files and folders into a folder where no link exists yet; the links last, and then see where they lead."""
    total, links = 0, {}
    for entry in entries:
        for depth in range(1, len(entry.parts) + (entry.kind == "folder")):
            if entry.parts[:depth] in links:
                raise Refused(f"{'/'.join(entry.parts)!r} lies behind a link")
        place = os.path.join(root, *entry.parts)
        if entry.kind == "folder":
            os.makedirs(place, exist_ok=True)
            continue
        if not entry.parts:
            raise Refused("an entry without a name")
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if entry.kind == "link":
            links[entry.parts] = entry.target
            continue
        links.pop(entry.parts, None)
        if entry.kind == "hard":
            source = clean(entry.target)
            if source in links:
                links[entry.parts] = links[source]
                continue
            shutil.copy2(os.path.join(root, *source), place)
            total += os.path.getsize(place)
        else:
            with entry.read() as source, open(place, "wb") as file:
                while data := source.read(1 << 16):
                    total += len(data)
                    if total > LIMIT:
                        raise Refused(f"more than {LIMIT} bytes")
                    file.write(data)
            os.chmod(place, 0o755 if entry.mode & 0o111 else 0o644)
            os.utime(place, (entry.mtime, entry.mtime))
        if total > LIMIT:
            raise Refused(f"more than {LIMIT} bytes")
    for parts, target in links.items():
        os.symlink(target, os.path.join(root, *parts))
    inside = os.path.realpath(root)
    for parts in links:
        place = os.path.join(inside, *parts)
        end = os.path.realpath(place)
        if os.path.isabs(os.readlink(place)) or os.path.commonpath([inside, end]) != inside:
            raise Refused(f"the link {'/'.join(parts)!r} leads outside")


def main():
    archive, dest = sys.argv[1:]
    dest = os.path.abspath(dest)
    if os.path.lexists(dest) and (os.path.islink(dest) or not os.path.isdir(dest) or os.listdir(dest)):
        print(f"unpack: {dest} is there and not an empty folder", file=sys.stderr)
        return 73
    os.makedirs(os.path.dirname(dest), exist_ok=True)
    stage = tempfile.mkdtemp(prefix=".unpack-", dir=os.path.dirname(dest))
    try:
        root = os.path.join(stage, "root")
        os.mkdir(root)
        if zipfile.is_zipfile(archive) and not is_tar(archive):
            with zipfile.ZipFile(archive) as opened:
                lay(from_zip(opened), root)
        else:
            with tarfile.open(archive, errorlevel=2) as opened:
                lay(from_tar(opened), root)
            whole(archive)
        if os.path.isdir(dest):
            os.rmdir(dest)
        os.rename(root, dest)
    except Refused as error:
        print(f"unpack: refused: {error}", file=sys.stderr)
        return 77
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, ValueError,
            RuntimeError, NotImplementedError) as error:
        print(f"unpack: {archive}: {error}", file=sys.stderr)
        return 65
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return 0


def is_tar(path):
    with open(path, "rb") as file:
        return not file.read(4).startswith(b"PK") and tarfile.is_tarfile(path)


def whole(path):
    """tarfile takes an end of the file for the end of the archive: look for the zero block that must be there."""
    with tarfile.open(path) as opened:
        for _ in opened:
            pass
        opened.fileobj.seek(opened.offset)
        if opened.fileobj.read(512) != bytes(512):
            opened.fileobj.seek(max(0, opened.offset - 512))
            if opened.fileobj.read(512) != bytes(512):
                raise ValueError("truncated")


sys.exit(main())
