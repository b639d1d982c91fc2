// The live page: puts its parts together. Each part shows one thing; what is wrong is the banners' business.

import { pulse, showBanners } from "/assets/banners.js";
import { $ } from "/assets/dom.js";
import { now, time } from "/assets/format.js";
import { Keys } from "/assets/keys.js";
import { ask, Live } from "/assets/live.js";
import { showPartitions } from "/assets/partitions.js";
import { Pickers } from "/assets/pickers.js";
import { showPipeline } from "/assets/pipeline.js";
import { Rates } from "/assets/rates.js";
import { Series } from "/assets/series.js";
import { showTiles } from "/assets/tiles.js";

const AGAIN_MS = 2000;

const state = { view: null, seen: null, lost: null, trouble: null, paused: false };
const rates = new Rates();
const keys = new Keys();
const pickers = new Pickers((other) => (other ? open() : show()));
const series = new Series((start) => pickers.set({ at: start }));
const live = new Live({
  view: (view) => {
    [state.view, state.seen] = [view, now()];
    rates.note(view.status);
    show();
  },
  trouble: (text) => tell({ trouble: text }),
  lost: (text) => tell({ lost: text }),
});

function tell(changes) {
  const differs = Object.entries(changes).some(([name, value]) => state[name] !== value);
  Object.assign(state, changes);
  if (differs) aging();
}

function open() {
  if (state.paused || !pickers.counter) return;
  live.open(pickers.counter.name, pickers.window);
}

function show() {
  const { view } = state;
  // Until the first answer for another counter is there, the old one stays as it is.
  if (view && view.counter === pickers.counter.name && view.window === pickers.window) {
    series.show(view, pickers, show);
    keys.show(view, pickers, show);
  }
  if (view) showPartitions(view.status);
  aging();
}

// What changes by itself as time goes by.
function aging() {
  if (state.view && !state.paused) {
    const speed = rates.now();
    showTiles(state.view.status, speed);
    showPipeline(state.view.status, speed, state.trouble);
  }
  notices();
}

function notices() {
  showBanners({ ...state, status: state.view?.status ?? null });
  if (state.paused) pulse("paused", "paused");
  else if (state.lost) pulse("lost", "not connected");
  else if (state.trouble) pulse("lost", "store away");
  else if (state.view) pulse("live", `live, ${time.format(state.seen * 1000)}`);
}

$("pause").addEventListener("click", () => {
  state.paused = !state.paused;
  $("pause").textContent = state.paused ? "Go on" : "Pause";
  $("pause").setAttribute("aria-pressed", String(state.paused));
  if (state.paused) live.close();
  else open();
  notices();
});

async function start() {
  try {
    const { counters } = await ask("/api/v1/counters");
    pickers.start(counters);
    tell({ lost: null, trouble: null });
    open();
  } catch (error) {
    tell({ lost: `No answer from streamgauge: ${error.message}.` });
    setTimeout(start, AGAIN_MS);
  }
}

setInterval(aging, 1000);
start();
