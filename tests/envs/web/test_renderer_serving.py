"""What the renderer serves: builds, Node and Python back ends, CDN addresses from the store; and live mode."""

from __future__ import annotations

import pytest

from .pages import Recorder

CDN_PAGE = """<!doctype html><html lang="en"><head><title>CDN</title>
<link rel="stylesheet" href="https://fonts.googleapis.com/css2?family=Playfair+Display:wght@400;700&display=block">
<link rel="stylesheet" href="https://cdn.jsdelivr.net/npm/bootstrap@5.3.3/dist/css/bootstrap.min.css">
<script src="https://cdn.tailwindcss.com"></script><script>tailwind.config = {}</script>
<script src="https://unpkg.com/react@18/umd/react.production.min.js"></script>
<script src="https://unpkg.com/react-dom@18.2.0/umd/react-dom.production.min.js"></script>
<script src="https://unpkg.com/@babel/standalone/babel.min.js"></script>
<script src="https://cdn.jsdelivr.net/npm/chart.js"></script>
<script src="https://cdnjs.cloudflare.com/ajax/libs/lodash.js/4.17.21/lodash.min.js"></script>
<script src="https://cdnjs.cloudflare.com/ajax/libs/three.js/r128/three.min.js"></script>
<script src="https://cdn.jsdelivr.net/npm/left-pad@1/index.js"></script>
<script type="importmap">{"imports": {"three": "https://unpkg.com/three@0.170.0/build/three.module.js",
  "three/addons/": "https://unpkg.com/three@0.170.0/examples/jsm/"}}</script></head>
<body><h1 style="font-family: 'Playfair Display'" class="underline">Words</h1><div id="root"></div><p id="said"></p>
<canvas id="chart" width="300" height="150"></canvas>
<script type="text/babel">
const App = () => { const [n, set] = React.useState(0);
  return <button onClick={() => set(n + 1)}>Pressed {n}</button> };
ReactDOM.createRoot(document.getElementById("root")).render(<App />);
</script>
<script type="module">
import * as d3 from "https://esm.sh/d3@7"; import { createApp } from "https://esm.sh/vue@3";
import React, { useState } from "https://esm.sh/react@19"; import { createRoot } from "https://esm.sh/react-dom@19/client";
import { OrbitControls } from "three/addons/controls/OrbitControls.js"; import { marked } from "https://cdn.jsdelivr.net/npm/marked/+esm";
await document.fonts.load("16px 'Playfair Display'");
const own = document.createElement("div"); document.body.append(own);
createRoot(own).render(React.createElement(() => React.createElement("b", null, "modules", useState("!")[0])));
document.getElementById("said").textContent = [typeof d3.scaleLinear, typeof createApp, typeof OrbitControls,
  typeof marked, _.sum([1, 2]), THREE.REVISION, document.fonts.check("16px 'Playfair Display'")].join(" ");
new Chart(document.getElementById("chart"), {type: "bar", data: {labels: ["a"], datasets: [{data: [3]}]}});
</script></body></html>"""
NODE = """const http = require("http"); let n = 0;
http.createServer((q, s) => {
  if (q.url === "/spy") s.end(["/srv/job.json", "/srv/out/result.json", "/opt/render/x"].map(p => {
    try { require("fs").openSync(p, p.endsWith("x") ? "w" : "r"); return "opened " + p } catch (e) { return e.code }
  }).concat([process.getuid() > 0]).join(" "));
  else if (q.url === "/events") { s.setHeader("content-type", "text/event-stream");
    setInterval(() => s.write("data: tick\\n\\n"), 100) }
  else if (q.url === "/api") { let b = ""; q.on("data", d => b += d); q.on("end", () => {
    s.setHeader("content-type", "application/json"); s.end(JSON.stringify({n: ++n, method: q.method, body: b})) }); }
  else { s.setHeader("content-type", "text/html"); s.end(require("fs").readFileSync("page.html")) }
}).listen(process.env.PORT, () => console.log("up"));"""
PYTHON = """import http.server, os
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/old": self.send_response(302); self.send_header("Location", "/"); self.end_headers(); return
        self.send_response(200); self.send_header("Content-Type", "text/html"); self.end_headers()
        self.wfile.write(b"<h1>Python says hello</h1>")
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Page).serve_forever()"""
ASKS = """<!doctype html><title>API</title><button id="ask">Ask</button><p id="said"></p><script>
ask.onclick = async () => { const a = await fetch("/api", {method: "POST", body: "x=1"});
  said.textContent = await a.text() };
new EventSource("/events").onmessage = e => { document.title = e.data };
</script>"""


async def test_a_build_has_npm_and_the_store_and_no_network(recorded: Recorder) -> None:
    site = {
        "package.json": '{"dependencies": {"react": "^19", "react-dom": "^19"}, "devDependencies": {"esbuild": "*"}}',
        "index.html": '<!doctype html><title>Built</title><div id="root"></div><script src="app.js"></script>',
        "app.jsx": 'import React from "react"; import {createRoot} from "react-dom/client";'
        'createRoot(document.getElementById("root")).render(<h1>Built with {React.version.split(".")[0]}</h1>);',
    }
    build = "npm install && npx esbuild app.jsx --bundle --outfile=dist/app.js && cp index.html dist/"
    steps = [{"name": "shows", "action": "none", "checks": [{"text": "Built with 19"}]}]
    page = (
        await recorded(site, serve={"build": build, "folder": "dist"}, steps=steps, settle=0.3, promised=["react@19"])
    ).recording
    assert (page.outcome, page.why, page.steps[0].ok) == ("ok", None, True)

    failed = (await recorded(site, serve={"build": "echo half; npm install no-such-package"})).recording
    assert failed.outcome == "build_failed"
    assert "half" in failed.trace.build_log
    assert "no-such-package" in failed.trace.build_log


async def test_back_ends_in_node_and_python(recorded: Recorder) -> None:
    steps = [
        {
            "name": "ask",
            "action": "click",
            "target": {"role": "button"},
            "checks": [{"text": '{"n":1,"method":"POST","body":"x=1"}'}, {"title": "tick"}],
        },
        {"name": "spy", "action": "goto", "text": "/spy", "checks": [{"text": "EACCES EACCES EACCES true"}]},
    ]
    node = {"server.js": NODE, "page.html": ASKS}
    page = (await recorded(node, serve={"command": "node server.js", "port": 3000}, steps=steps, settle=0.3)).recording
    assert (page.outcome, page.why, page.steps[0].why) == ("ok", None, None)
    assert page.trace.server_log == "up\n"
    assert page.steps[1].why is None  # what it serves with reaches neither the checks nor the recording
    assert page.trace.requests[-1].by == "site"

    steps = [{"name": "greets", "action": "none", "checks": [{"text": "Python says hello"}, {"url": "app.test/"}]}]
    serve = {"command": "sleep 1; python3 app.py", "path": "/old"}  # it listens late, and sends away
    page = (await recorded({"app.py": PYTHON}, serve=serve, steps=steps, settle=0.3)).recording
    assert (page.outcome, page.why, page.steps[0].why) == ("ok", None, None)


async def test_servers_that_do_not_serve(recorded: Recorder) -> None:
    async def of(command: str, seconds: float = 5) -> tuple[str, str | None]:
        serve = {"command": command, "start_seconds": seconds}
        page = (await recorded({"x": ""}, serve=serve)).recording
        return page.outcome, page.why

    assert await of("sleep 100", 1) == ("not_served", "nothing listened on port 8000 within 1 seconds")
    assert await of("echo no >&2; exit 7") == ("not_served", "the server ended with exit code 7")
    taken = "python3 -c 'import socket, time; s = socket.socket(); s.bind((\"\", 8000)); time.sleep(99)' & sleep 1; "
    outcome, why = await of(f"{taken} python3 -m http.server 8000")
    assert outcome == "not_served"
    assert why == "the server ended with exit code 1"


async def test_cdn_addresses_are_answered_by_the_store(recorded: Recorder) -> None:
    steps = [
        {"name": "loads", "action": "none",
         "checks": [{"target": {"css": "#said"}, "text": "function function function function 3 128 true", "within": 4},
                    {"target": {"css": "h1"}, "style": ["text-decoration-line", "underline"]},
                    {"text": "modules!"}]},
        {"name": "press", "action": "click", "target": {"role": "button", "name": "Pressed 0"},
         "checks": [{"text": "Pressed 1"}]},
    ]  # fmt: skip
    page = (await recorded(CDN_PAGE, steps=steps)).recording
    assert [step.why for step in page.steps] == [None, None], page.trace.errors + page.trace.console
    by = {request.url: request.by for request in page.trace.requests}
    assert [url for url, who in by.items() if who == "blocked"] == ["https://cdn.jsdelivr.net/npm/left-pad@1/index.js"]
    assert set(by.values()) == {"site", "store", "blocked"}


async def test_a_promise_that_the_store_does_not_keep_is_the_farms_fault(recorded: Recorder) -> None:
    with pytest.raises(Exception, match="the store lacks left-pad"):
        await recorded("<h1>Hello</h1>", promised=["react@18", "left-pad"], settle=0.2, seconds=0.3)


async def test_video_and_audio_are_recorded_live(recorded: Recorder) -> None:
    steps = [
        {"name": "moves", "action": "none", "checks": [{"target": {"css": "#box"}, "moved": True}]},
        {"name": "press", "action": "click", "target": {"role": "button"}, "checks": [{"text": "Pressed"}]},
    ]
    page = """<!doctype html><html lang="en"><title>Live</title><style>#box { width: 50px; height: 50px;
      background: red; animation: go 2s infinite } @keyframes go { to { transform: translateX(300px) } }</style>
      <div id="box"></div><audio></audio><button onclick="this.textContent = 'Pressed'">Press</button>"""
    done = await recorded(page, steps=steps, settle=0.3)
    live = done.recording
    assert (live.outcome, live.mode, live.mode_why) == ("ok", "live", "the page has a <video> or <audio>")
    assert [step.why for step in live.steps] == [None, None]
    assert live.video is not None
    assert done.files[live.video].startswith(b"\x1a\x45\xdf\xa3")
    assert live.mobile is not None
    assert len(set(live.digests)) > 3
    assert live.trace.navigations == ("https://app.test/",)  # the exact try is forgotten


async def test_the_explorer_does_the_same_for_the_same_seed(recorded: Recorder) -> None:
    page = """<title>Explore</title><input placeholder="Name"><button onclick="out.textContent += ' one'">One</button>
      <button onclick="out.textContent += ' two'">Two</button><p id="out"></p><div style="height: 3000px"></div>"""
    one, two = [(await recorded(page, explore=4, seed=3, settle=0.3)).recording for _ in range(2)]
    assert one.digests == two.digests
    assert [still.why for still in one.keyframes] == [still.why for still in two.keyframes]
    assert any(still.why.startswith("explored: ") for still in one.keyframes)
