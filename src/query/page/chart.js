// A bar for each window, by uPlot.

import { amount, day, minute, short } from "/assets/format.js";

const { uPlot } = globalThis;
const KINDS = ["final", "open", "partial", "selected", "selectedOpen"];
const INCREMENTS = [1, 2, 5].flatMap((n) => [...Array(16).keys()].map((power) => n * 10 ** power)).sort((a, b) => a - b);
// Labels are times of the day without seconds, so no two stand within a minute.
const TIMES = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return { final: of("accent"), open: of("accent"), partial: of("muted"), selected: of("selected"), selectedOpen: of("selected"), line: of("line"), text: of("muted"), soft: of("accent-soft") };
}

// Hatched, so that colour is not the only thing that tells what may still change.
function hatch(colour, ground) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const pen = tile.getContext("2d");
  pen.fillStyle = ground;
  pen.fillRect(0, 0, 8, 8);
  pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  for (const x of [-8, 0, 8]) {
    pen.moveTo(x, 8);
    pen.lineTo(x + 8, 0);
  }
  pen.stroke();
  return pen.createPattern(tile, "repeat");
}

export class Chart {
  // `onPick(start)` and `onHover(start or null)`.
  constructor(host, { onPick, onHover }) {
    this.host = host;
    this.onPick = onPick;
    this.onHover = onHover;
    this.data = null;
    this.plot = null;
    new ResizeObserver(() => this.resize()).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.make());
    host.addEventListener("keydown", (event) => this.key(event));
  }

  // `buckets`: in order, from `from` to `to`; `selected`: the start of one of them.
  show(data) {
    this.data = data;
    if (!this.plot) return this.make();
    this.plot.setData(this.columns(), false);
    this.scale();
  }

  // What the picked window is, for those who do not see it. The chart is a slider: the arrow keys move it.
  describe(picked) {
    const { buckets, selected } = this.data;
    const place = buckets.findIndex((b) => b.start === selected);
    const told = { valuemin: 0, valuemax: Math.max(0, buckets.length - 1), valuenow: Math.max(0, place), valuetext: picked };
    for (const [name, value] of Object.entries(told)) this.host.setAttribute(`aria-${name}`, value);
  }

  columns() {
    const { buckets, selected } = this.data;
    const kind = (b) => (b.start === selected ? (b.final ? "selected" : "selectedOpen") : b.partial ? "partial" : b.final ? "final" : "open");
    return [buckets.map((b) => b.start), ...KINDS.map((k) => buckets.map((b) => (kind(b) === k && b.total > 0 ? amount(b) : null)))];
  }

  scale() {
    const { from, to, buckets } = this.data;
    const most = buckets.reduce((max, b) => Math.max(max, amount(b)), 0);
    this.plot.batch(() => {
      this.plot.setScale("x", { min: from, max: to });
      this.plot.setScale("y", { min: 0, max: Math.max(4, most * 1.06) });
    });
  }

  make() {
    if (!this.data || !this.host.clientWidth) return;
    this.plot?.destroy();
    this.plot = new uPlot(this.options(), this.columns(), this.host);
    this.plot.over.addEventListener("click", () => {
      const start = this.data.buckets[this.plot.cursor.idx]?.start;
      if (start !== undefined) this.onPick(start);
    });
    this.scale();
  }

  options() {
    const c = colours();
    const paths = uPlot.paths.bars({ size: [0.82, 90], align: 1 });
    const hatched = { open: c.soft, selectedOpen: c.line };
    const series = (kind) => ({
      paths, points: { show: false }, width: hatched[kind] ? 1 : 0, stroke: c[kind],
      fill: hatched[kind] ? hatch(c[kind], hatched[kind]) : c[kind],
    });
    const axis = { stroke: c.text, font: "12px system-ui, sans-serif", ticks: { show: false } };
    return {
      width: this.host.clientWidth, height: this.host.clientHeight, legend: { show: false }, padding: [10, 18, 0, 0],
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false, setScale: false } },
      scales: { x: { time: true, auto: false }, y: { auto: false } },
      series: [{}, ...KINDS.map(series)],
      axes: [
        { ...axis, grid: { show: false }, space: 70, size: 30, incrs: TIMES, values: (_, at) => this.times(at) },
        { ...axis, grid: { stroke: c.line, width: 1 }, size: 54, incrs: INCREMENTS, space: 40, values: (_, at) => at.map((n) => short.format(n)) },
      ],
      hooks: { setCursor: [(plot) => this.onHover(this.data.buckets[plot.cursor.idx ?? -1]?.start ?? null)] },
    };
  }

  times(at) {
    const format = this.data.to - this.data.from > 86400 ? day : minute;
    return at.map((t) => format.format(t * 1000));
  }

  resize() {
    if (!this.plot) return this.make();
    const { clientWidth: width, clientHeight: height } = this.host;
    if (width && (width !== this.plot.width || height !== this.plot.height)) this.plot.setSize({ width, height });
  }

  key(event) {
    const { buckets, selected } = this.data ?? { buckets: [] };
    const at = buckets.findIndex((b) => b.start === selected);
    const place = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: buckets.length - 1 }[event.key];
    if (place === undefined) return;
    event.preventDefault();
    if (buckets[place]) this.onPick(buckets[place].start);
  }
}
