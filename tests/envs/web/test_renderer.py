"""The renderer: a page is served, used and recorded, and equal pages give equal frames."""

from __future__ import annotations

import io
import json

from PIL import Image

from .pages import Recorder

TODO = """<!doctype html><html lang="en"><head><title>Todo</title>
<meta name="viewport" content="width=device-width">
<style>body { font: 16px sans-serif } #box { width: 80px; height: 80px; background: tomato; animation: go 2s infinite }
@keyframes go { to { transform: translateX(400px) } }</style></head><body><h1>Todo list</h1>
<div id="box"></div><label>New task <input id="task"></label> <button id="add">Add</button><ul id="tasks"></ul>
<p id="clock"></p><p style="color: #ccc">Pale words</p><img src="none.png"><div style="height: 1500px"></div>
<button id="low">Low</button>
<script>
add.onclick = () => {
  const entry = document.createElement("li"); entry.textContent = task.value; tasks.append(entry); task.value = "" };
low.onclick = () => { low.textContent = "Pressed"; console.log("low at", scrollY > 500) };
setInterval(() => { clock.textContent = new Date().toISOString() + Math.random() }, 250);
</script></body></html>"""
STEPS = [
    {"name": "type", "action": "type", "target": {"label": "New task"}, "text": "Buy milk",
     "checks": [{"target": {"label": "New task"}, "value": "Buy milk"}]},
    {"name": "add", "action": "click", "target": {"role": "button", "name": "Add"},
     "checks": [{"target": {"role": "listitem"}, "count": 1, "text": "Buy milk"},
                {"evaluate": "document.querySelectorAll('li').length === 1"}]},
    {"name": "moves", "action": "none", "checks": [{"target": {"css": "#box"}, "moved": True},
                                                   {"target": {"role": "heading"}, "moved": False, "within": 0.3}]},
    {"name": "low", "action": "click", "target": {"role": "button", "name": "Low"},
     "checks": [{"target": {"role": "button", "name": "Pressed"}, "visible": True, "inside_viewport": True}]},
    {"name": "not so", "action": "none", "checks": [{"title": "Done", "within": 0.2}, {"title": "Todo"}]},
]  # fmt: skip


async def test_a_page_is_used_as_a_person_would_and_recorded_twice_alike(recorded: Recorder) -> None:
    one, two = [await recorded(TODO, steps=STEPS) for _ in range(2)]
    page = one.recording
    assert (page.outcome, page.mode, page.status, page.why) == ("ok", "exact", 200, None)
    assert [(step.name, step.ok, step.checks) for step in page.steps] == [
        ("type", True, (True,)),
        ("add", True, (True, True)),
        ("moves", True, (True, True)),
        ("low", True, (True,)),
        ("not so", False, (False, True)),
    ]
    assert page.steps[-1].why == "the title is 'Todo', without 'Done'"
    assert page.digests == two.recording.digests
    assert len(set(page.digests)) > 20  # its box moves in every frame until the page is scrolled
    assert page.steps == two.recording.steps
    assert page.trace.console[-1] == "log: low at true"
    assert page.trace.errors == ()
    assert [(r.url, r.by, r.status) for r in page.trace.requests] == [
        ("https://app.test/", "site", 200),
        ("https://app.test/none.png", "site", 404),
    ]
    assert "listitem: Buy milk" in page.trace.accessibility_end
    assert "listitem" not in page.trace.accessibility_start
    assert (page.signals.contrast, page.signals.unlabelled) == (1, 1)  # the pale words, the picture without alt
    assert 0.5 < page.signals.blank < 0.99

    assert {still.why for still in page.keyframes} >= {"first paint", "settled", "after: type", "after: low"}
    for still in page.keyframes:
        assert Image.open(io.BytesIO(one.files[still.file])).size == (1280, 720)
    assert page.mobile is not None
    assert Image.open(io.BytesIO(one.files[page.mobile])).size == (375, 812)
    assert page.video is not None
    assert one.files[page.video].startswith(b"\x1a\x45\xdf\xa3")  # Matroska, of which WebM is a kind
    assert page.contact is not None
    assert Image.open(io.BytesIO(one.files[page.contact])).format == "PNG"
    assert json.loads(one.files["trace.json"])["navigations"] == ["https://app.test/"]


ACTIONS = """<!doctype html><html lang="en"><head><title>Actions</title><style>html { scroll-behavior: smooth }
#pad, #card, #bin { width: 90px; height: 60px; background: silver; touch-action: none }
#hint { display: none } #pad:hover + #hint { display: block } #list { height: 80px; overflow: auto }
</style></head><body><div id="pad">Pad</div><p id="hint">Hint</p>
<div id="card" draggable="true">Card</div><div id="bin">Bin</div>
<label>Colour <select id="colour"><option>Red</option><option>Dark blue</option></select></label>
<label>Day <input type="date" id="day"></label><label>File <input type="file" id="file"></label>
<div id="list"><div style="height: 500px"></div><button onclick="say('inner')">Inner</button></div>
<div style="height: 2000px"></div><button ondblclick="say('twice')">Deep</button><p id="said"></p><script>
const say = (...words) => { said.textContent += words.join(" ") + "; " };
addEventListener("keydown", e => e.ctrlKey && e.key !== "Control" && say("key", e.key));
addEventListener("resize", () => say("size", innerWidth));
addEventListener("wheel", e => say("wheel", e.deltaY));
let from = null; pad.onpointerdown = e => { from = e.clientX; pad.setPointerCapture(e.pointerId) };
let moves = 0; pad.onpointermove = e => { if (from !== null) moves++ };
pad.onpointerup = e => { say("slid", e.clientX > from + 20, moves > 3); from = null };
card.ondragstart = e => e.dataTransfer.setData("text", "card"); bin.ondragover = e => e.preventDefault();
bin.ondrop = e => { e.preventDefault(); say("dropped", e.dataTransfer.getData("text")) };
colour.onchange = () => say("colour", colour.value); day.onchange = () => say("day", day.value);
file.onchange = async () => say("file", file.files[0].name, await file.files[0].text());
setTimeout(() => say("waited"), 2500);
</script></body></html>"""
ACTED = [
    ({"action": "wait", "checks": [{"target": {"css": "#said"}, "text": "waited;", "within": 4}]}, ""),
    ({"action": "hover", "target": {"text": "Pad"}, "checks": [{"target": {"text": "Hint"}, "visible": True}]}, ""),
    ({"action": "drag", "target": {"text": "Pad"}, "to": {"label": "Colour"}}, "slid true true;"),
    ({"action": "drag", "target": {"text": "Card"}, "to": {"text": "Bin"}}, "dropped card;"),
    ({"action": "type", "target": {"label": "Colour"}, "text": "Dark blue"}, "colour Dark blue;"),
    ({"action": "type", "target": {"label": "Day"}, "text": "02/03/2026"}, "day 2026-02-03;"),
    ({"action": "upload", "target": {"label": "File"}, "files": ["data/note.txt"]}, "file note.txt noted;"),
    ({"action": "press", "text": "Control+k"}, "key k;"),
    ({"action": "click", "target": {"role": "button", "name": "Inner"}}, "inner;"),
    ({"action": "dblclick", "target": {"role": "button", "name": "Deep"}}, "twice;"),
    ({"action": "resize", "size": [600, 700], "checks": [{"no_overflow": True}]}, "size 600;"),
    ({"action": "hover", "target": {"text": "Pad"}}, ""),
    ({"action": "scroll", "amount": 300, "checks": [{"evaluate": "scrollY > 200"}]}, "wheel 300;"),
    ({"action": "goto", "text": "/other.html", "checks": [{"title": "Other"}, {"url": "/other.html"}]}, ""),
]  # fmt: skip


async def test_every_action_arrives(recorded: Recorder) -> None:
    steps = []
    for number, (step, says) in enumerate(ACTED):
        checks = [*step.get("checks", []), *([{"target": {"css": "#said"}, "text": says}] if says else [])]
        steps.append({"name": f"{number} {step['action']}", "seconds": 0.1, **step, "checks": checks})
    site = {"index.html": ACTIONS, "other.html": "<title>Other</title><h1>Other</h1>"}
    page = (await recorded(site, assets={"data/note.txt": "noted"}, steps=steps, settle=0.3)).recording
    assert page.outcome == "ok"
    assert {step.name: step.why for step in page.steps if step.why is not None} == {}


async def test_a_target_that_is_not_there_fails_its_step_alone(recorded: Recorder) -> None:
    steps = [
        {"name": "none", "action": "click", "target": {"role": "button", "name": "No"}, "checks": [{"title": "Page"}]},
        {"name": "hidden", "action": "click", "target": {"css": "#hidden"}},
        {"name": "some", "action": "none", "checks": [{"title": "Page"}]},
    ]
    page = (
        await recorded("<title>Page</title><h1>Page</h1><p id=hidden hidden>Here</p>", steps=steps, settle=0.2)
    ).recording
    assert [(step.ok, step.why) for step in page.steps] == [
        (False, "no element with role 'button', name 'No'"),
        (False, "css '#hidden' is not visible"),
        (True, None),
    ]
    assert [still.why for still in page.keyframes] == ["first paint"]  # all others look the same
