// The live page: puts its parts together. Each part shows one thing; what is wrong is the banners' business.

import { pulse, showBanners } from "/assets/banners.js";
import { $ } from "/assets/dom.js";
import { now, time } from "/assets/format.js";
import { Keys } from "/assets/keys.js";
import { ask, Live } from "/assets/live.js";
import { showPartitions } from "/assets/partitions.js";
import { Pickers } from "/assets/pickers.js";
import { noteGrowth, showPipeline } from "/assets/pipeline.js";
import { Rates } from "/assets/rates.js";
import { Series } from "/assets/series.js";
import { showTiles } from "/assets/tiles.js";

const AGAIN_MS = 2000;

const state = { view: null, seen: null, lost: null, trouble: null, paused: false };
const isAwake = () => !state.paused && !document.hidden;
const rates = new Rates();
const keys = new Keys(isAwake);
const pickers = new Pickers((other) => (other ? open() : show()));
const series = new Series(isAwake, (start) => pickers.set({ at: start }));
const live = new Live({
  view: (view) => {
    [state.view, state.seen] = [view, now()];
    rates.note(view.status);
    noteGrowth(view.status);
    // A pause stops what moves by itself. Another counter is looked at once.
    if (state.paused) live.close();
    show();
    figures();
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
  if (document.hidden || !pickers.counter) return;
  live.open(pickers.counter.name, pickers.window);
}

function show() {
  const { view } = state;
  // Until the first answer for another counter is there, the old one stays as it is.
  if (view && view.counter === pickers.counter.name && view.window === pickers.window) {
    series.show(view, pickers, show);
    keys.show(view, pickers, show);
  }
  aging();
}

function figures() {
  if (!state.view) return;
  const speed = rates.now();
  showTiles(state.view.status, speed);
  showPipeline(state.view.status, speed, state.trouble);
  showPartitions(state.view.status);
}

// What changes by itself as time goes by.
function aging() {
  if (!state.paused) figures();
  notices();
}

function notices() {
  showBanners({ ...state, status: state.view?.status ?? null });
  document.body.dataset.old = state.lost || state.trouble || state.paused ? "yes" : "no";
  if (state.paused) pulse("paused", "paused");
  else if (state.lost) pulse("lost", "not connected");
  else if (state.trouble) pulse("lost", "store away");
  else if (state.view) pulse("live", `live, ${time.format(state.seen * 1000)}`);
}

$("pause").addEventListener("click", () => {
  state.paused = !state.paused;
  $("pause").textContent = state.paused ? "Go on" : "Pause";
  if (state.paused) {
    live.close();
    // Nothing is tried while it is paused; going on will tell.
    [state.lost, state.trouble] = [null, null];
  } else {
    open();
  }
  notices();
});

// A browser keeps few connections to one place open: a page that nobody sees lets go of its own.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) live.close();
  else if (!state.paused) open();
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
