"""Fills npm's cache so that `npm install` works with no network: it serves an index of the pinned versions, once.

npm asks a registry for a package's versions even when the package itself is cached; the answer must name only what the
store holds. Usage: npm_cache.py STORE CACHE.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

PORT = 4873  # of the registry that the image's npmrc names; nothing listens there afterwards
MANIFEST = (
    "bin", "dependencies", "optionalDependencies", "peerDependencies", "peerDependenciesMeta", "engines", "os", "cpu",
    "hasInstallScript",
)  # fmt: skip


def index(store: Path) -> dict[str, dict[str, Any]]:
    """npm's answer about each package: its pinned versions, the newest of them as `latest`."""
    versions: dict[str, dict[str, Any]] = defaultdict(dict)
    for place, entry in json.loads((store / "package-lock.json").read_text())["packages"].items():
        if not place:
            continue
        name = entry.get("name", place.rpartition("node_modules/")[2])
        versions[name][entry["version"]] = {
            "name": name,
            "version": entry["version"],
            "dist": {"tarball": tarball(name, entry["version"]), "integrity": entry["integrity"]},
            **{key: entry[key] for key in MANIFEST if key in entry},
        }
    return {name: {"name": name, "dist-tags": {"latest": newest(of)}, "versions": of} for name, of in versions.items()}


def tarball(name: str, version: str) -> str:
    """Where npm's registry keeps it; a lock file need not say."""
    return f"https://registry.npmjs.org/{name}/-/{name.rpartition('/')[2]}-{version}.tgz"


def newest(versions: dict[str, Any]) -> str:
    """The highest of plain `1.2.3` versions."""
    return max(versions, key=lambda version: tuple(int(part) for part in version.split("-")[0].split(".")))


def serve(packages: dict[str, dict[str, Any]]) -> ThreadingHTTPServer:
    """A registry that knows nothing else, on this machine's loopback."""

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = packages.get(unquote(self.path.lstrip("/")))
            body = json.dumps(found or {"error": "not in the store"}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", PORT), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> None:
    """Resolve all that the store holds, which asks for every package as an install does."""
    store, cache = sys.argv[1:]
    server = serve(index(Path(store)))
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(Path(store) / "package.json", folder)
        options = [
            "--registry",
            f"http://127.0.0.1:{PORT}/",
            "--cache",
            cache,
            "--ignore-scripts",
            "--no-audit",
            "--legacy-peer-deps",
        ]  # the store holds two Reacts
        subprocess.run(["npm", "install", "--package-lock-only", *options], cwd=folder, check=True)
    server.shutdown()


main()
