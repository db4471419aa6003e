"""Numbers about a page's layout, measured in a world that the page cannot touch, and axe-core's findings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from envfarm.envs.web.recording import Signals
from render.store import STORE
from render.targets import World

AXE = STORE / "axe-core/axe.min.js"
_LABELS = "['image-alt','label','button-name','link-name','input-image-alt','select-name']"
_TOO_MANY = 8_000  # nodes, above which axe-core would take minutes

LAYOUT = """(() => {
  const nodes = document.getElementsByTagName('*').length;
  const wide = document.documentElement;
  const out = {nodes, overflow: Math.max(0, wide.scrollWidth - wide.clientWidth), overlapping: 0, clipped: 0};
  const controls = [...document.querySelectorAll('button,a[href],input,select,textarea,[role=button]')].slice(0, 300)
    .filter(e => e.checkVisibility({opacityProperty: true, visibilityProperty: true}))
    .map(e => [e, e.getBoundingClientRect()]).filter(([e, r]) => r.width > 1 && r.height > 1);
  for (let i = 0; i < controls.length; i++) for (let j = i + 1; j < controls.length; j++) {
    const [a, p] = controls[i], [b, q] = controls[j];
    if (a.contains(b) || b.contains(a)) continue;
    const w = Math.min(p.right, q.right) - Math.max(p.left, q.left);
    const h = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
    if (w > 2 && h > 2) out.overlapping++;
  }
  for (const e of [...document.querySelectorAll('body *')].slice(0, 5000)) {
    if (!e.childNodes.length || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const s = getComputedStyle(e);
    if (s.overflowX !== 'visible' && e.clientWidth > 0 && e.scrollWidth > e.clientWidth + 1) out.clipped++;
    else if (s.overflowY === 'hidden' && e.clientHeight > 0 && e.scrollHeight > e.clientHeight + 1) out.clipped++;
  }
  return out;
})()"""
SHIFT = """(() => { let sum = 0;
  const seen = new PerformanceObserver(() => {}); seen.observe({type: 'layout-shift', buffered: true});
  for (const e of seen.takeRecords()) if (!e.hadRecentInput) sum += e.value;
  return sum; })()"""
TEXT = "document.documentElement ? document.documentElement.textContent.slice(0, 200000) : ''"


async def measure(world: World, *, blank: float) -> Signals:
    """All but the phone's overflow. Raises ValueError, Error when the page answers no more."""
    layout: dict[str, Any] = await world.run(LAYOUT)
    found = {"contrast": 0, "unlabelled": 0}
    if layout["nodes"] <= _TOO_MANY:
        found = await _axe(world)
    return Signals(blank=round(blank, 4), shift=round(float(await world.run(SHIFT) or 0), 4), **layout, **found)


async def _axe(world: World) -> dict[str, int]:
    """Counts of elements; the isolated world is the same at each call, so that axe stays loaded in it."""
    script = Path(AXE).read_text()
    counted = f"""(async () => {{ {script};
      const r = await axe.run(document, {{runOnly: ['color-contrast', ...{_LABELS}], resultTypes: ['violations'],
        elementRef: false, iframes: false, preload: false}});
      const of = ids => r.violations.filter(v => ids.includes(v.id)).reduce((n, v) => n + v.nodes.length, 0);
      return {{contrast: of(['color-contrast']), unlabelled: of({_LABELS})}}; }})()"""
    counts: dict[str, int] = await world.run(counted, wait=True)
    return counts
