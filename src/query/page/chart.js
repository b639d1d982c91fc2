// A bar for each window, drawn by hand as SVG. All text goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 52, RIGHT = 6, TOP = 10, BOTTOM = 24;

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit" });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

function draw(parent, name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

// The step between grid lines: 1, 2 or 5 times a power of ten, three to five lines for any height.
function step(max) {
  const power = 10 ** Math.floor(Math.log10(max / 4 || 1));
  const nice = [1, 2, 5, 10].find((n) => n * power * 4 >= max) ?? 10;
  return Math.max(1, nice * power);
}

// Seconds between the labels of the time axis, so that a label has room: a date takes more of it than a time.
function labelStep(span, width) {
  const most = Math.max(2, Math.floor(width / (span > 86400 ? 110 : 75)));
  const steps = [60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 604800, 2592000];
  return steps.find((s) => span / s <= most) ?? steps[steps.length - 1];
}

export class Chart {
  constructor(host, onPick) {
    this.host = host;
    this.data = { buckets: [], from: 0, to: 1, size: 1, selected: null };
    this.hovered = null;
    new ResizeObserver(() => this.draw()).observe(host);
    host.addEventListener("pointermove", (event) => this.hover(this.at(event)));
    host.addEventListener("pointerleave", () => this.hover(null));
    host.addEventListener("click", (event) => {
      const bucket = this.at(event);
      if (bucket) onPick(bucket.start);
    });
    host.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!move) return;
      event.preventDefault();
      const next = this.data.buckets[this.data.buckets.findIndex((b) => b.start === this.data.selected) + move];
      if (next) onPick(next.start);
    });
  }

  // Called with the bucket under the pointer, or null.
  onHover() {}

  show(data) {
    this.data = data;
    if (this.hovered) this.hovered = data.buckets.find((b) => b.start === this.hovered.start) ?? null;
    this.draw();
    this.onHover(this.hovered);
  }

  hover(bucket) {
    if (bucket?.start === this.hovered?.start) return;
    this.hovered = bucket;
    this.draw();
    this.onHover(bucket);
  }

  at(event) {
    const box = this.host.getBoundingClientRect();
    const { from, to, size, buckets } = this.data;
    const time = from + ((event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT)) * (to - from);
    return buckets.find((b) => b.start <= time && time < b.start + size) ?? null;
  }

  draw() {
    const width = this.host.clientWidth, height = this.host.clientHeight;
    if (width < 80 || height < 60) return;
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("aria-hidden", "true");
    const { buckets, from, to } = this.data;
    const max = buckets.reduce((most, b) => Math.max(most, b.total), 0);
    const lines = step(max), top = Math.max(lines, Math.ceil(max / lines) * lines);
    const x = (time) => LEFT + ((time - from) / (to - from)) * (width - LEFT - RIGHT);
    const y = (count) => TOP + (1 - count / top) * (height - TOP - BOTTOM);
    for (let count = 0; count <= top; count += lines) {
      draw(svg, "line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(count), y2: y(count) });
      draw(svg, "text", { x: LEFT - 7, y: y(count) + 4, "text-anchor": "end" }, short.format(count));
    }
    this.drawTimes(svg, x, width, height);
    for (const bucket of buckets) this.drawBar(svg, bucket, x, y);
    this.host.replaceChildren(svg);
  }

  drawTimes(svg, x, width, height) {
    const { from, to } = this.data;
    const every = labelStep(to - from, width - LEFT - RIGHT);
    const format = to - from > 86400 ? day : clock;
    // Labels stand at round local times.
    const shift = new Date(from * 1000).getTimezoneOffset() * 60;
    for (let time = Math.ceil((from - shift) / every) * every + shift; time <= to; time += every) {
      if (x(time) > width - 20) break;
      draw(svg, "text", { x: x(time), y: height - 7, "text-anchor": "middle" }, format.format(time * 1000));
    }
  }

  drawBar(svg, bucket, x, y) {
    const left = x(bucket.start), slot = x(bucket.start + this.data.size) - left;
    const gap = slot > 5 ? 1.5 : slot > 2.5 ? 0.75 : 0;
    const full = y(0) - TOP;
    if (bucket.start === this.hovered?.start) {
      draw(svg, "rect", { class: "cursor", x: left, y: TOP, width: slot, height: full });
    }
    if (bucket.total === 0) return;
    const bar = Math.max(1.5, y(0) - y(bucket.total));
    const classes = ["bar"];
    if (!bucket.final) classes.push("open");
    if (bucket.partial) classes.push("partial");
    if (bucket.start === this.data.selected) classes.push("selected");
    const width = Math.max(0.75, slot - gap);
    draw(svg, "rect", { class: classes.join(" "), x: left + gap / 2, y: y(0) - bar, width, height: bar });
  }
}
