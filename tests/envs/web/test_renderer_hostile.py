"""Pages that are broken or mean: each has its outcome, within its deadline, and forges nothing."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from envfarm.envs.web.recording import Recording

from .pages import Recorder

MEAN = """<!doctype html><html lang="en"><head><title>Mean</title><style>
@keyframes go { to { transform: translateX(300px) } }
#css { width: 40px; height: 40px; background: teal; animation: go 1s infinite }</style></head><body>
<h1 style="font-family: 'No Such Font'">Words \u6f22\u5b57 \U0001f600</h1><div id="css"></div>
<button id="go">Go</button>
<a id="save" href="data:application/octet-stream,x" download="x.bin">Save</a>
<canvas id="gl" width="64" height="64"></canvas>
<canvas id="huge"></canvas><img name="title" alt=""><img name="body" alt=""><p id="end"></p>
<iframe src="file:///etc/passwd"></iframe><iframe src="http://169.254.169.254/latest/meta-data/"></iframe>
<script>
const say = (...words) => console.log(words.join(" "));
say("alert", alert("hello"), "confirm", confirm("sure?"), "prompt", prompt("name?"), "print", print());
addEventListener("beforeunload", e => { e.preventDefault(); e.returnValue = "stay" });
say("popup", typeof window.open("https://evil.test/"), typeof window.open("about:blank"));
say("webdriver", navigator.webdriver, "headless", /headless/i.test(navigator.userAgent), "cdc", "cdc_" in window);
const gl = document.getElementById("gl").getContext("webgl");
gl.clearColor(1, 0, 0, 1); gl.clear(gl.COLOR_BUFFER_BIT);
const dot = new Uint8Array(4); gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, dot); say("webgl", dot);
huge.width = huge.height = 32767; say("huge", !!huge.getContext("2d").fillRect);
const ask = (url) => fetch(url, {mode: "no-cors"}).then(() => say("reached", url), () => say("cut", url));
["file:///etc/passwd", "http://127.0.0.1:22/", "http://localhost:9222/json", "http://169.254.169.254/", "http://[::1]/",
 "https://example.com/"].map(ask);
new WebSocket("ws://127.0.0.1:9222/devtools").onclose = () => say("socket closed");
navigator.serviceWorker?.register("/sw.js").then(() => say("worker of the page"), () => say("no worker of the page"));
const peer = new RTCPeerConnection({iceServers: [{urls: "stun:8.8.8.8:3478"}]}); peer.createDataChannel("x");
const seen = []; peer.onicecandidate = e => e.candidate && seen.push(e.candidate.candidate);
peer.createOffer().then(o => peer.setLocalDescription(o));
go.onclick = () => { save.click(); say("candidates", seen.filter(c => !c.includes(".local")).length);
  end.textContent = "went on" };
for (const lie of [Document.prototype, Element.prototype]) { lie.querySelectorAll = () => ["forged"]; }
Element.prototype.getBoundingClientRect = () => ({x: 1, y: 1, width: 1, height: 1, top: 1, left: 1, bottom: 2});
window.getComputedStyle = () => ({color: "forged"}); window.forged = true;
Array.prototype.map = () => ["forged"]; JSON.stringify = () => "true";
Object.defineProperty(document, "title", {get: () => "Forged"}); document.evaluate = () => "forged";
setTimeout(() => { throw new Error("late \\ud800") }, 700);
</script></body></html>"""
STEPS = [
    {"name": "go", "action": "click", "target": {"role": "button", "name": "Go"}, "checks": [{"text": "went on"}]},
    {
        "name": "truth",
        "action": "none",
        "checks": [
            {"evaluate": "document.querySelectorAll('button').length === 1 && [1].map(x => x + 1)[0] === 2"},
            {"title": "Mean"},
            {"evaluate": "document.evaluate('//h1', document, null, 9).singleNodeValue === document.body.children[0]"},
            {"target": {"css": "#css"}, "moved": True},
            {"target": {"role": "heading"}, "text": "Words \u6f22\u5b57 \U0001f600"},
        ],
    },
    {"name": "lie", "action": "none", "checks": [{"evaluate": "window.forged === true", "within": 0.1}]},
]


async def test_a_mean_page_is_recorded_and_forges_nothing(recorded: Recorder) -> None:
    done = await recorded(MEAN, steps=STEPS)
    page = done.recording
    assert (page.outcome, page.mode, page.why) == ("ok", "exact", None)
    assert [(step.ok, step.checks) for step in page.steps] == [
        (True, (True,)),
        (True, (True,) * 5),
        (False, (False,)),
    ]
    said = {line.removeprefix("log: ") for line in page.trace.console if line.startswith("log: ")}
    assert said >= {
        "alert  confirm true prompt  print ",
        "webdriver false headless false cdc false",
        "webgl 255,0,0,255",
        "huge true",
        "socket closed",
        "candidates 0",
    }
    assert not [line for line in said if line.startswith("reached")]
    assert len([line for line in said if line.startswith("cut")]) == 6
    assert not [request.url for request in page.trace.requests if request.url.endswith("/sw.js")]
    assert page.trace.dialogs[:3] == ("alert: hello", "confirm: sure?", "prompt: name?")
    assert page.trace.popups >= 1
    assert page.trace.downloads == 1
    assert page.trace.errors[0].startswith("late ")
    assert page.trace.errors_before_paint == 0
    assert page.signals.blank < 0.99
    still = Image.open(io.BytesIO(done.files[page.keyframes[-1].file])).convert("RGB")
    red = [count for count, (r, g, b) in still.getcolors(1 << 24) or [] if r > 240 and g < 15 and b < 15]
    assert 3000 < sum(red) < 4200  # what WebGL drew is in the picture, 64 pixels square but for JPEG


ENDLESS = "<!doctype html><title>Endless</title><h1>Words</h1><button>Go</button><script>%s</script>"


BALLOON = "const all = []; setInterval(() => { for (let i = 9; i; i--) all.push(new Uint8Array(5e7).fill(1)) }, 9)"


@pytest.mark.parametrize(
    ("script", "outcomes"),
    [
        pytest.param("while (true);", {"timed_out"}, id="endless loop"),
        pytest.param("while (true) alert(1);", {"timed_out"}, id="endless alerts"),
        pytest.param(
            BALLOON, {"crashed", "timed_out"}, id="memory balloon"
        ),  # by how fast the machine fills its memory
        pytest.param("location.replace('/?' + Math.random())", {"timed_out"}, id="endless redirects of its own"),
        pytest.param("window.close(); document.documentElement.remove()", {"ok"}, id="takes its root away"),
    ],
)
async def test_a_page_that_does_not_go_on(recorded: Recorder, script: str, outcomes: set[str]) -> None:
    steps = [{"name": "go", "action": "click", "target": {"role": "button"}, "checks": [{"title": "Endless"}]}]
    page = (await recorded(ENDLESS % script, steps=steps, settle=0.3, patience=3, deadline=20)).recording
    assert page.outcome in outcomes, page.why
    assert (page.why is None) == (page.outcome == "ok")
    assert not page.steps[0].ok
    assert page.mode == "exact"


BUSY = """<!doctype html><html lang="en"><title>Busy</title><h1>Busy</h1>
<button onclick="this.textContent = 'Pressed'">Press</button><div id="many"></div><script>
setInterval(() => {}, 0); (function again() { requestAnimationFrame(again) })();
(async () => { while (true) await fetch("/").then(r => r.text()) })();
addEventListener("beforeunload", e => { e.preventDefault(); e.returnValue = "" });
for (let i = 0; i < 20; i++) new Worker(URL.createObjectURL(new Blob(["setInterval(() => postMessage(1), 0)"])));
many.innerHTML = "<i>x</i>".repeat(50000);
</script>"""


async def test_a_page_that_never_rests_and_has_50_000_nodes(recorded: Recorder) -> None:
    steps = [{"name": "press", "action": "click", "target": {"role": "button"}, "checks": [{"text": "Pressed"}]}]
    page = (await recorded(BUSY, steps=steps, settle=0.3)).recording
    assert (page.outcome, page.why) == ("ok", None)
    assert [step.why for step in page.steps] == [None]
    assert page.signals.nodes > 50_000


async def test_documents_that_are_none(recorded: Recorder) -> None:
    async def of(server: str) -> Recording:
        code = f"require('http').createServer((q, s) => {{ {server} }}).listen(8000)"
        serve = {"command": "node s.js"}
        return (await recorded({"s.js": code}, serve=serve, patience=3, seconds=1, settle=0.2)).recording

    page = await of("s.writeHead(302, {location: '/' + Math.random()}); s.end()")
    assert (page.outcome, page.why) == ("bad_document", "the main document redirects more than 20 times")
    page = await of("s.writeHead(200, {'content-type': 'image/png'}); s.end('<h1>Hello</h1>')")
    assert (page.outcome, page.status, page.why) == ("bad_document", 200, "the main document is 200 image/png")
    page = await of("/* says nothing */")
    assert page.outcome in ("bad_document", "timed_out")
    page = await of("if (q.url !== '/') process.exit(3); s.setHeader('content-type', 'text/html');"
                    "s.end('<h1>Here</h1><script>fetch(1).catch(() => document.write(`gone`))</script>')")  # fmt: skip
    assert page.outcome == "ok"
    assert "gone" in page.trace.accessibility_end
    assert page.trace.requests[-1].by == "failed"
    assert (await recorded({"main.html": "<h1>Hello</h1>"})).recording.status == 404
