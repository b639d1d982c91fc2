// What is looked at: counter, window, range, key filter, one window of it. All of it stands in the address, so that
// a copy of the address shows the same to somebody else.

import { $, option } from "/assets/dom.js";
import { windowSeconds } from "/assets/format.js";

const RANGES = [[300, "5 min"], [1800, "30 min"], [10800, "3 h"], [86400, "24 h"], [604800, "7 d"], [2592000, "30 d"]];
const MOST_BARS = 1500, LEAST_BARS = 5, DEFAULT_S = 1800;

export class Pickers {
  constructor(onChange) {
    this.counters = [];
    this.counter = null;
    this.window = null;
    this.size = 1;
    this.range = DEFAULT_S;
    this.filter = "";
    this.at = null;
    this.onChange = onChange;
    $("counter").addEventListener("change", (e) => this.pickCounter(e.target.value));
    $("window").addEventListener("change", (e) => this.pickWindow(e.target.value));
    $("range").addEventListener("change", (e) => this.set({ range: Number(e.target.value), at: null }));
    $("filter").addEventListener("input", (e) => this.set({ filter: e.target.value.trim() }));
    $("follow").addEventListener("click", () => this.set({ at: null }));
    $("share").addEventListener("click", () => this.share());
  }

  // Takes the counters of the server, and what the address says.
  start(counters) {
    const wanted = new URLSearchParams(location.search);
    this.counters = counters;
    $("counter").replaceChildren(...counters.map((c) => option(c.name)));
    this.counter = counters.find((c) => c.name === wanted.get("counter")) ?? counters[0] ?? null;
    if (!this.counter) return;
    $("counter").value = this.counter.name;
    this.fillWindows(wanted.get("window"));
    this.fillRanges(Number(wanted.get("range")));
    this.filter = wanted.get("filter") ?? "";
    $("filter").value = this.filter;
    this.at = wanted.has("at") ? Number(wanted.get("at")) || null : null;
    this.write();
  }

  fillWindows(wanted) {
    const labels = this.counter.windows.map((w) => w.size).sort((a, b) => windowSeconds(a) - windowSeconds(b));
    $("window").replaceChildren(...labels.map((label) => option(label)));
    this.window = labels.includes(wanted) ? wanted : labels[0];
    this.size = windowSeconds(this.window);
    $("window").value = this.window;
  }

  fillRanges(wanted) {
    const { size } = this;
    const keep = windowSeconds(this.counter.windows.find((w) => w.size === this.window).keep);
    const bars = ([s]) => s / size;
    const fitting = RANGES.filter((r) => bars(r) >= LEAST_BARS && bars(r) <= MOST_BARS && r[0] <= Math.max(keep, DEFAULT_S));
    const ranges = fitting.length ? fitting : [[30 * size, "30 windows"]];
    $("range").replaceChildren(...ranges.map(([s, text]) => option(String(s), text)));
    const has = (s) => ranges.some(([r]) => r === s);
    this.range = has(wanted) ? wanted : has(DEFAULT_S) ? DEFAULT_S : ranges[0][0];
    $("range").value = String(this.range);
  }

  pickCounter(name) {
    this.counter = this.counters.find((c) => c.name === name);
    this.fillWindows(this.window);
    this.fillRanges(this.range);
    this.set({ at: null }, true);
  }

  pickWindow(label) {
    this.window = label;
    this.size = windowSeconds(label);
    this.fillRanges(this.range);
    this.set({ at: null }, true);
  }

  set(changes, other = false) {
    Object.assign(this, changes);
    this.write();
    this.onChange(other);
  }

  write() {
    const here = new URLSearchParams({ counter: this.counter.name, window: this.window, range: this.range });
    if (this.filter) here.set("filter", this.filter);
    if (this.at !== null) here.set("at", this.at);
    history.replaceState(null, "", `?${here}`);
  }

  async share() {
    const button = $("share");
    try {
      await navigator.clipboard.writeText(location.href);
      button.textContent = "Copied";
    } catch {
      button.textContent = "It is the address above";
    }
    setTimeout(() => (button.textContent = "Copy link"), 2000);
  }
}
