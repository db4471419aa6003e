import html
import os
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

PAGES = Path(__file__).parent / "assets"
STYLE = """*{box-sizing:border-box}body{margin:0;background:#faf8f3;color:#2b2a26;font:18px/1.65 "Liberation Serif",Georgia,serif}
.frame{max-width:980px;margin:0 auto;padding:28px 20px;display:grid;grid-template-columns:220px 1fr;gap:44px}
header{border-bottom:1px solid #ddd6c4;background:#fff}header form{max-width:980px;margin:0 auto;padding:14px 20px;display:flex;gap:10px;align-items:end;flex-wrap:wrap}
header b{margin-right:auto;font-size:22px}label{font:14px "Liberation Sans",sans-serif;display:grid;gap:2px}
input,button{font:16px "Liberation Sans",sans-serif;padding:7px 12px;border:1px solid #857b61;border-radius:8px;background:#fff}button{background:#5a4a1f;color:#fff;cursor:pointer}
nav ul{list-style:none;margin:0;padding:0}nav a{display:block;padding:7px 12px;border-radius:8px;color:#5a4a1f;text-decoration:none}nav a[aria-current]{background:#efe7d0;font-weight:700}
h1{line-height:1.15;margin:0 0 14px;font-size:38px;overflow-wrap:anywhere}p,li{max-width:36em}a{color:#7a5c0e}mark{background:#ffe38a}
@media(max-width:700px){.frame{grid-template-columns:1fr;gap:18px}}"""


def inline(text: str) -> str:
    text = html.escape(text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    text = re.sub(r"\*(.+?)\*", r"<em>\1</em>", text)
    return re.sub(r"\[([^\]]+)\]\(([\w-]+)\)", r'<a href="/\2">\1</a>', text)


def markdown(text: str) -> str:
    out = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.splitlines()
        if match := re.match(r"(#{1,2}) (.*)", lines[0]):
            level = len(match[1])
            out.append(f"<h{level}>{inline(match[2])}</h{level}>")
        elif all(line.startswith("- ") for line in lines):
            out.append("<ul>" + "".join(f"<li>{inline(line[2:])}</li>" for line in lines) + "</ul>")
        else:
            out.append(f"<p>{inline(' '.join(lines))}</p>")
    return "\n".join(out)


def title_of(text: str) -> str:
    return next((line[2:].strip() for line in text.splitlines() if line.startswith("# ")), "Untitled")


def pages() -> dict[str, str]:
    return {path.stem: path.read_text() for path in PAGES.glob("*.md")}


def whole(known: dict[str, str], title: str, body: str, here: str = "", words: str = "") -> bytes:
    links = sorted((title_of(text), name) for name, text in known.items())
    items = "".join(
        f'<li><a href="/{name}"{" aria-current=page" if name == here else ""}>{html.escape(shown)}</a></li>' for shown, name in links
    )
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)} · Handbook</title><style>{STYLE}</style></head><body>
<header><form action="/search"><b>Handbook</b><label>Search<input name="q" value="{html.escape(words)}"></label><button>Find</button></form></header>
<div class="frame"><nav aria-label="Contents"><ul>{items}</ul></nav><main>{body}</main></div></body></html>""".encode()


def results(known: dict[str, str], words: str) -> str:
    wanted, found = words.lower().split(), []
    for name, text in sorted(known.items()):
        if wanted and all(word in text.lower() for word in wanted):
            line = next(line for line in text.splitlines() if wanted[0] in line.lower())
            marked = re.sub(f"({re.escape(html.escape(wanted[0]))})", r"<mark>\1</mark>", html.escape(line.lstrip("#- ")), flags=re.I)
            found.append(f'<p><a href="/{name}">{html.escape(title_of(text))}</a><br>{marked}</p>')
    return f"<h1>Results for {html.escape(words)}</h1>" + ("".join(found) or "<p>Nothing found</p>")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url, known = urlsplit(self.path), pages()
        name = unquote(url.path).strip("/")
        name = name or "start"
        if name == "search":
            words = parse_qs(url.query).get("q", [""])[0]
            self.answer(200, whole(known, f"Results for {words}", results(known, words), words=words))
        elif name in known:
            self.answer(200, whole(known, title_of(known[name]), markdown(known[name]), name))
        else:
            self.answer(404, whole(known, "No such page", "<h1>No such page</h1><p>It may have been moved; try the contents.</p>"))

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Handler).serve_forever()
