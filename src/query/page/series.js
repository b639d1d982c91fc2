// The windows of the picked range: as bars, in words, and as a table.

import { Chart } from "/assets/chart.js";
import { $, cell, fill, row, say } from "/assets/dom.js";
import { amount, count, figure, measured, now, span, told } from "/assets/format.js";
import { Poll } from "/assets/poll.js";

const EVERY_MS = 30000;

export class Series {
  constructor(isAwake, onPick) {
    this.poll = new Poll(isAwake);
    this.hovered = null;
    this.shown = null;
    this.what = null;
    // All windows that were told of one counter and range, by the stream and before it.
    this.known = new Map();
    this.chart = new Chart($("chart"), {
      onPick,
      onHover: (start) => {
        this.hovered = start;
        this.readout();
      },
    });
    $("twin").addEventListener("toggle", () => this.table());
  }

  show(view, picks, then) {
    const { counter, window, size, range, at } = picks;
    const to = Math.floor(now() / size) * size + size, from = to - range;
    this.gather(view, picks, from, then);
    const buckets = [...this.known.values()].filter((b) => b.start >= from && b.start < to).sort((a, b) => a.start - b.start);
    const selected = at ?? view.keys?.start ?? newest(buckets)?.start ?? null;
    this.shown = { buckets, selected, size };
    this.kind = counter.kind;
    say("chart-title", `${counter.name}, ${measured(counter)} per ${window}`);
    say("windows-by", counter.kind === "count" ? "Events" : "Value");
    this.chart.show({ buckets, from, to, selected });
    const sum = buckets.reduce((all, b) => all + amount(b), 0);
    // Who is in two windows would be told twice.
    const all = counter.kind === "distinct" ? measured(counter) : told(sum, counter.kind);
    say("chart-sum", `${all} in ${count.format(buckets.length)} windows`);
    say("chart-note", this.poll.error === null ? "" : `The windows before cannot be read: ${this.poll.error}. It is tried again.`);
    $("follow").hidden = at === null;
    this.readout();
    this.table();
  }

  // The stream tells of the last half hour. A longer range is asked for once, and now and then again, for late
  // events correct old windows too. What falls out of the stream meanwhile is kept.
  gather(view, { counter, window, range }, from, then) {
    const what = JSON.stringify([counter.name, window, range]);
    if (what !== this.what) [this.what, this.known] = [what, new Map()];
    for (const start of this.known.keys()) if (start < from) this.known.delete(start);
    for (const bucket of view.buckets.values()) this.known.set(bucket.start, bucket);
    const first = Math.min(...view.buckets.keys());
    if (first <= from + 1 || !Number.isFinite(first)) return this.poll.stop();
    const query = new URLSearchParams({ window, from: Math.floor(from), to: Math.ceil(first), top: 0 });
    this.poll.want(what, `/api/v1/counters/${encodeURIComponent(counter.name)}?${query}`, EVERY_MS, () => {
      for (const bucket of this.poll.answer?.buckets ?? []) this.known.set(bucket.start, bucket);
      then();
    });
  }

  readout() {
    if (!this.shown) return;
    const { buckets, selected, size } = this.shown;
    const words = (at) => {
      const bucket = buckets.find((b) => b.start === at);
      return bucket && `${span(bucket.start, bucket.start + size)}: ${told(amount(bucket), this.kind)}, ${state(bucket)}`;
    };
    say("readout", words(this.hovered ?? selected) ?? (buckets.length ? "\u00a0" : "No window of this range is kept."));
    this.chart.describe(words(selected) ?? "no window");
  }

  table() {
    if (!this.shown || !$("twin").open) return;
    const { buckets, size } = this.shown;
    fill($("windows"), buckets.toReversed().map((b) => row(cell(span(b.start, b.start + size)), cell(figure(amount(b)), "n"), cell(state(b)))));
  }
}

const state = (bucket) => [bucket.final ? "final" : "not final yet", bucket.partial ? "counted in part" : ""].filter(Boolean).join(", ");

// The newest window that is final and holds something; before there is one, the newest that holds something.
export function newest(buckets) {
  const filled = buckets.filter((b) => b.total > 0);
  return filled.findLast((b) => b.final) ?? filled.at(-1) ?? buckets.at(-1);
}
