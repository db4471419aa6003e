import { computed, createApp, ref } from "vue";

const SIZE = 12;
const COLOURS = { ink: "#20253a", red: "#e5484d", orange: "#f2883a", yellow: "#f6cd45", green: "#3aa76d", blue: "#3a7bf0", violet: "#8658e8", white: "#ffffff" };
const mirrored = at => at - at % SIZE + SIZE - 1 - at % SIZE;
const beside = at => [at % SIZE > 0 && at - 1, at % SIZE < SIZE - 1 && at + 1, at - SIZE, at + SIZE].filter(to => to !== false && to >= 0 && to < SIZE * SIZE);

function setup() {
  const cells = ref(Array(SIZE * SIZE).fill("")), colour = ref("ink"), tool = ref("Pencil"), mirror = ref(false);
  const past = ref([]), future = ref([]);
  let before = null;

  const begin = () => { before = cells.value.slice(); };
  const end = () => {
    if (before && before.some((cell, at) => cell !== cells.value[at])) { past.value.push(before); future.value = []; }
    before = null;
  };
  const paint = at => {
    for (const one of mirror.value ? [at, mirrored(at)] : [at]) cells.value[one] = tool.value === "Eraser" ? "" : colour.value;
  };
  const fill = at => {
    const old = cells.value[at], open = [at], seen = new Set(open);
    while (open.length) {
      const one = open.pop();
      cells.value[one] = colour.value;
      for (const next of beside(one)) if (cells.value[next] === old && !seen.has(next)) { seen.add(next); open.push(next); }
    }
  };
  const cellAt = event => {
    const found = document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-at]");
    return found ? Number(found.dataset.at) : null;
  };
  const press = event => {
    const at = cellAt(event);
    if (at === null || event.button) return;
    begin();
    if (tool.value === "Fill") { fill(at); end(); } else paint(at);
  };
  const cross = event => { const at = cellAt(event); if (before && at !== null) paint(at); };
  const byKey = (event, at) => { if (event.detail === 0) { begin(); tool.value === "Fill" ? fill(at) : paint(at); end(); } };
  const clear = () => { begin(); cells.value = Array(SIZE * SIZE).fill(""); end(); };
  const travel = (from, to) => { if (from.value.length) { to.value.push(cells.value); cells.value = from.value.pop(); } };
  const undo = () => travel(past, future), redo = () => travel(future, past);
  addEventListener("pointerup", end);
  addEventListener("keydown", event => { if (event.ctrlKey && event.key === "z") { event.preventDefault(); undo(); } });

  const name = at => `Row ${Math.floor(at / SIZE) + 1}, column ${at % SIZE + 1}, ${cells.value[at] || "empty"}`;
  const painted = computed(() => cells.value.filter(Boolean).length);
  const svg = computed(() => `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${SIZE} ${SIZE}">\n`
    + cells.value.map((cell, at) => cell && `  <rect x="${at % SIZE}" y="${Math.floor(at / SIZE)}" width="1" height="1" fill="${COLOURS[cell]}"/>\n`).join("") + "</svg>");
  return { COLOURS, cells, colour, tool, mirror, past, future, press, cross, byKey, clear, undo, redo, name, painted, svg };
}

const template = `
<header><h1>Pixel pad</h1><p aria-live="polite">Painted: {{ painted }} of 144</p></header>
<main>
  <section class="tools" aria-label="Tools">
    <div class="row"><button v-for="one in ['Pencil', 'Fill', 'Eraser']" :aria-pressed="tool === one" @click="tool = one">{{ one }}</button></div>
    <div class="colours"><button v-for="(code, one) in COLOURS" :aria-label="one" :title="one" :aria-pressed="colour === one" :style="{ background: code }" @click="colour = one"></button></div>
    <label class="mirror"><input type="checkbox" v-model="mirror"> Mirror</label>
    <div class="row"><button :disabled="!past.length" @click="undo">Undo</button><button :disabled="!future.length" @click="redo">Redo</button><button @click="clear">Clear</button></div>
  </section>
  <section class="canvas" aria-label="Canvas" @pointerdown.prevent="press" @pointermove="cross">
    <button v-for="(cell, at) in cells" :key="at" :data-at="at" :aria-label="name(at)" :class="{ empty: !cell }" :style="cell ? { background: COLOURS[cell] } : {}" @click="byKey($event, at)"></button>
  </section>
  <section class="out"><h2>Picture</h2><div class="small" v-html="svg"></div><label>SVG<textarea readonly :value="svg" spellcheck="false"></textarea></label></section>
</main>`;

createApp({ setup, template }).mount("#pad");
