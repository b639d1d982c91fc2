// The windows of the picked range: as bars, in words, and as a table.

import { Chart } from "/assets/chart.js";
import { $, cell, fill, row, say } from "/assets/dom.js";
import { count, events, now, span } from "/assets/format.js";
import { ask } from "/assets/live.js";

const EVERY_MS = 30000;

export class Series {
  constructor(onPick) {
    this.hovered = null;
    this.shown = null;
    this.older = new Map();
    this.asked = null;
    this.askedAt = 0;
    this.chart = new Chart($("chart"), {
      onPick: (start) => {
        onPick(start);
        // Said aloud only when somebody moves, not each second.
        say("said", $("readout").textContent);
      },
      onHover: (start) => {
        this.hovered = start;
        this.readout();
      },
    });
    $("twin").addEventListener("toggle", () => this.table());
  }

  show(view, picks, again) {
    const { counter, window, size, range, at } = picks;
    const to = Math.floor(now() / size) * size + size, from = to - range;
    this.askOlder(view, picks, from, again);
    const known = new Map([...this.older, ...view.buckets]);
    const buckets = [...known.values()].filter((b) => b.start >= from && b.start < to).sort((a, b) => a.start - b.start);
    const selected = at ?? view.keys?.start ?? newest(buckets)?.start ?? null;
    this.shown = { buckets, selected, size };
    say("chart-title", `${counter.name}, events per ${window}`);
    this.chart.show({ buckets, from, to, selected });
    const sum = buckets.reduce((all, b) => all + b.total, 0);
    $("chart").setAttribute("aria-label", `${events(sum)} in ${buckets.length} windows of ${window}; arrow keys pick one, the table below holds all`);
    $("follow").hidden = at === null;
    this.readout();
    this.table();
  }

  // The stream tells of the last half hour. A longer range is asked for once, and now and then again, for late
  // events correct old windows too.
  askOlder(view, { counter, window, range }, from, again) {
    const first = Math.min(...view.buckets.keys());
    const what = JSON.stringify([counter.name, window, range]);
    if (what !== this.asked) this.older = new Map();
    if (first <= from + 1) return void (this.asked = what);
    if (what === this.asked && Date.now() - this.askedAt < EVERY_MS) return;
    [this.asked, this.askedAt] = [what, Date.now()];
    const query = new URLSearchParams({ window, from: Math.floor(from), to: Math.ceil(first), top: 0 });
    ask(`/api/v1/counters/${encodeURIComponent(counter.name)}?${query}`).then(
      ({ buckets }) => {
        if (what !== this.asked) return;
        this.older = new Map(buckets.map((b) => [b.start, b]));
        again();
      },
      () => {},
    );
  }

  readout() {
    if (!this.shown) return;
    const { buckets, selected, size } = this.shown;
    const bucket = buckets.find((b) => b.start === (this.hovered ?? selected));
    if (!bucket) return say("readout", buckets.length ? "\u00a0" : "No window of this range is kept.");
    say("readout", `${span(bucket.start, bucket.start + size)}: ${events(bucket.total)}, ${kind(bucket)}`);
  }

  table() {
    if (!this.shown || !$("twin").open) return;
    const { buckets, size } = this.shown;
    fill($("windows"), buckets.toReversed().map((b) => row(cell(span(b.start, b.start + size)), cell(count.format(b.total), "n"), cell(kind(b)))));
  }
}

const kind = (bucket) => [bucket.final ? "final" : "not final yet", bucket.partial ? "counted in part" : ""].filter(Boolean).join(", ");

// The newest window that is final and holds something; before there is one, the newest that holds something.
function newest(buckets) {
  const filled = buckets.filter((b) => b.total > 0);
  return filled.findLast((b) => b.final) ?? filled.at(-1) ?? buckets.at(-1);
}
