"""The store behind CDN addresses: which file of the vendored packages answers jsDelivr, unpkg, cdnjs, esm.sh, fonts."""

from __future__ import annotations

import json
import mimetypes
import re
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

STORE = Path("/opt/envfarm/store/node_modules")
ESM = Path("/opt/envfarm/store/esm")
CDN = {
    "cdn.jsdelivr.net", "fastly.jsdelivr.net", "unpkg.com", "cdnjs.cloudflare.com", "esm.sh", "esm.run",
    "cdn.tailwindcss.com", "fonts.googleapis.com", "fonts.gstatic.com", "d3js.org",
}  # fmt: skip
_CDNJS = {"three.js": "three", "Chart.js": "chart.js", "lodash.js": "lodash", "bootstrap": "bootstrap/dist"}
_SPEC = re.compile(r"^(?P<name>(?:@[^/@]+/)?[^/@]+)(?:@(?P<version>[^/]+))?(?P<path>/.*)?$")
_BARE = re.compile(rb"""(\bfrom\s*|\bimport\s*\(?\s*)(["'])([a-z@][^"':]*)\2""")
_DEFAULT = re.compile(rb"\bas default\b|\bexport default\b")
_ENTRY = ("unpkg", "jsdelivr", "browser", "module", "main")
_TAILWIND = b"window.tailwind = window.tailwind || {};\n"  # pages of version 3 assign tailwind.config first


class Answer:
    """A body and its type."""

    def __init__(self, body: bytes, kind: str) -> None:
        self.body = body
        self.kind = kind


def answer(url: str) -> Answer | None:
    """What the store has for an address; None where it has nothing."""
    parts = urlsplit(url)
    host, path = parts.hostname or "", unquote(parts.path)
    if host == "cdn.tailwindcss.com":
        found = package("@tailwindcss/browser")
        return None if found is None else Answer(_TAILWIND + found.body, "text/javascript")
    if host == "fonts.googleapis.com":
        return _google_css(parse_qs(parts.query).get("family", []))
    if host == "fonts.gstatic.com":
        return _file(STORE / "@fontsource" / path.lstrip("/"))
    if host == "d3js.org":
        return package("d3", path="/dist/d3.min.js")
    if host == "cdnjs.cloudflare.com":
        return _cdnjs(path)
    if host in ("cdn.jsdelivr.net", "fastly.jsdelivr.net"):
        path = path.removeprefix("/npm")
    return _npm(url, path.lstrip("/"), module=host in ("esm.sh", "esm.run") or path.endswith("+esm"))


def package(name: str, version: str = "", path: str = "") -> Answer | None:
    """A file of a package, its entry for browsers where no path is given."""
    root = _root(name, version)
    if root is None:
        return None
    if path.strip("/"):
        return _file(root / path.lstrip("/"))
    manifest = json.loads((root / "package.json").read_text())
    entries = [manifest[key] for key in _ENTRY if isinstance(manifest.get(key), str)]
    return next((found for entry in entries if (found := _file(root / entry))), None)


def split(promised: str) -> tuple[str, str]:
    """`react@18` or `@fontsource/inter`: name and version."""
    name, _, version = promised[1:].partition("@")
    return promised[:1] + name, version


def _npm(url: str, spec: str, *, module: bool) -> Answer | None:
    match = _SPEC.match(spec.removesuffix("/+esm"))
    if match is None:
        return None
    name, version, path = match["name"], match["version"] or "", match["path"] or ""
    return _module(url, name, version, path) if module else package(name, version, path)


def _module(url: str, name: str, version: str, path: str) -> Answer | None:
    """What `import x from "https://esm.sh/x"` gets: a package as one file, or one of its files with whole addresses."""
    root = _root(name, version)
    if root is None:
        return None
    if not path.strip("/") and (own := _file(root / f"dist/{name}.esm-browser.prod.js")):
        return own  # Vue's, with its compiler of templates
    older = root.name.rpartition("-")[2] if root.name != name.rpartition("/")[2] else ""
    bundle = ESM / f"{root.relative_to(STORE)}{path.rstrip('/')}.mjs"
    if bundle.resolve().is_relative_to(ESM) and bundle.is_file():
        return _once(bundle.read_bytes(), url, f"https://esm.sh/{name}{'@' * bool(older)}{older}{path.rstrip('/')}")
    found = package(name, version, path)
    if found is None or found.kind != "text/javascript":
        return found
    return Answer(_BARE.sub(rb"\1\2https://esm.sh/\3\2", found.body), found.kind)


def _once(bundle: bytes, url: str, canonical: str) -> Answer:
    """A module under its one address, and what hands on to it under all others: there must not be two Reacts."""
    if url == canonical:
        return Answer(bundle, "text/javascript")
    default = f'export {{ default }} from "{canonical}";' if _DEFAULT.search(bundle) else ""
    return Answer(f'export * from "{canonical}"; {default}'.encode(), "text/javascript")


def _cdnjs(path: str) -> Answer | None:
    """`/ajax/libs/NAME/VERSION/FILE`, whose files lie in a package's `dist`, `build` or root."""
    parts = path.strip("/").split("/")
    if len(parts) < 5:
        return None
    name = _CDNJS.get(parts[2], parts[2]).split("/")[0]
    version, file = parts[3].removeprefix("r"), "/".join(parts[4:])
    version = f"0.{version}" if parts[3].startswith("r") else version
    for folder in ("", "dist/", "build/", "umd/"):
        if found := package(name, version, folder + file):
            return found
    return None


def _root(name: str, version: str) -> Path | None:
    """The folder of the version that answers: an older one that is kept beside, or the newest."""
    short = version.lstrip("^~v=")
    for kept in sorted(STORE.glob(f"{name}-[0-9]*")) if short else []:
        if re.match(rf"{re.escape(kept.name.rpartition('-')[2])}(\.|$)", short):
            return kept
    root = STORE / name
    return root if (root / "package.json").is_file() else None


def _file(path: Path) -> Answer | None:
    for place in (path, path.with_name(path.name + ".js")):
        real = place.resolve()
        if real.is_relative_to(STORE) and real.is_file():
            kind = "text/javascript" if real.suffix in (".js", ".mjs", ".cjs") else mimetypes.guess_type(real.name)[0]
            return Answer(real.read_bytes(), kind or "application/octet-stream")
    return None


def _google_css(families: list[str]) -> Answer | None:
    """A style sheet like Google's, of the weights that are asked for; the files come from fonts.gstatic.com."""
    rules: list[str] = []
    for family in families:
        name, _, axes = family.partition(":")
        folder = name.strip().lower().replace(" ", "-")
        weights = set(re.findall(r"\b[1-9]00\b", axes)) or {"400"}
        for weight in sorted(weights):
            file = STORE / "@fontsource" / folder / "files" / f"{folder}-latin-{weight}-normal.woff2"
            if file.is_file():
                rules.append(
                    f"@font-face{{font-family:'{name}';font-weight:{weight};font-display:block;"
                    f"src:url(https://fonts.gstatic.com/{folder}/files/{file.name}) format('woff2')}}"
                )
    return Answer("\n".join(rules).encode(), "text/css") if rules else None
