"""Numbers about a page's layout, measured in a world that the page cannot touch, and axe-core's findings."""

from __future__ import annotations

from typing import Any

from render.store import STORE
from render.targets import World

AXE = STORE / "axe-core/axe.min.js"
_LABELS = "['image-alt','label','button-name','link-name','input-image-alt','select-name']"
_TOO_MANY = 4_000  # nodes, above which axe-core would take too long
_AT_ONCE = """const setTimeout = (f, ms = 0) => { if (ms < 500) Promise.resolve().then(f); return 0; },
  requestIdleCallback = setTimeout;"""
"""axe-core yields to timers, which never come while page time stands; in its own scope they come at once."""

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


async def layout(world: World) -> dict[str, Any]:
    """The fields of Signals that need no more than a look. Raises ValueError, Error when the page answers no more."""
    found: dict[str, Any] = await world.run(LAYOUT)
    return {**found, "shift": round(float(await world.run(SHIFT) or 0), 4)}


async def wider(world: World, width: int) -> int:
    """Pixels that the page is wider than a screen."""
    return max(0, int(await world.run("document.documentElement.scrollWidth")) - width)


async def audit(world: World, *, nodes: int) -> dict[str, int]:
    """axe-core's counts of elements; none where the page is too large for it."""
    if nodes > _TOO_MANY:
        return {}
    script = AXE.read_text()
    counted = f"""(async () => {{ {_AT_ONCE} {script};
      const r = await axe.run(document, {{runOnly: ['color-contrast', ...{_LABELS}], resultTypes: ['violations'],
        elementRef: false, iframes: false, preload: false}});
      const of = ids => r.violations.filter(v => ids.includes(v.id)).reduce((n, v) => n + v.nodes.length, 0);
      return {{contrast: of(['color-contrast']), unlabelled: of({_LABELS})}}; }})()"""
    counts: dict[str, int] = await world.run(counted, wait=True)
    return counts
