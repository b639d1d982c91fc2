// The live page: asks the JSON API each second and shows what it says. All text goes in as text, never as markup.

import { Chart } from "/assets/chart.js";

const POLL_MS = 1000, TIMEOUT_MS = 5000, BARS = 90, TOP = 20;
// Processors write every few seconds, quiet partitions included. Longer than this, something is wrong.
const STALE_S = 30;
const RATE_OVER_MS = 15000;

const $ = (id) => document.getElementById(id);
const count = new Intl.NumberFormat("en");
const time = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const date = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

const state = { counters: [], counter: null, window: null, picked: null, skew: 0, samples: [], lastOk: null, status: null };
const chart = new Chart($("chart"), (start) => {
  state.picked = start;
  tick();
});
chart.onHover = () => showReadout();

// ---- asking ----

async function ask(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store" });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error ?? `HTTP ${response.status}`);
  // The server's clock decides how old something is, for the times are its processors'.
  const served = Date.parse(response.headers.get("date") ?? "");
  if (!Number.isNaN(served) && Math.abs(served - Date.now()) > 2000) state.skew = served - Date.now();
  return body;
}

const nowS = () => (Date.now() + state.skew) / 1000;

function windowSeconds(label) {
  const units = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };
  const parts = [...label.matchAll(/(\d+)\s*(s|m(?!s)|h|d|w)[a-z]*/g)];
  return parts.reduce((sum, [, n, unit]) => sum + Number(n) * units[unit], 0) || 60;
}

async function poll() {
  if (state.counters.length === 0) {
    state.counters = (await ask("/api/v1/counters")).counters;
    fillPickers();
  }
  const requests = [ask("/api/v1/status")];
  if (state.counter) {
    const size = windowSeconds(state.window);
    const path = `/api/v1/counters/${state.counter.name}?window=${encodeURIComponent(state.window)}`;
    // A pick or a change of counter while this is under way belongs to the next round.
    const asked = { path, size, picked: state.picked };
    requests.push(ask(`${path}&from=-${size * BARS}s&top=0`).then((series) => withKeys(asked, series)));
  }
  const [status, shown] = await Promise.all(requests);
  state.status = status;
  state.lastOk = nowS();
  showStatus(status);
  if (shown) showSeries(shown);
}

// Keys are asked for one bucket only: all keys of all bars would be a thousand times as much to read.
async function withKeys(asked, series) {
  const chosen = series.buckets.find((b) => b.start === asked.picked) ?? newest(series.buckets);
  if (!chosen) return { ...asked, series, bucket: null };
  const range = `&from=${chosen.start}&to=${chosen.start + 1}&top=${TOP}`;
  const answer = await ask(asked.path + range);
  return { ...asked, series, bucket: answer.buckets[0] ?? null };
}

// The newest bucket that is final and holds something; before there is one, the newest that holds something.
function newest(buckets) {
  const filled = buckets.filter((b) => b.total > 0);
  return filled.findLast((b) => b.final) ?? filled.at(-1) ?? buckets.at(-1);
}

// ---- pickers ----

function fillPickers() {
  const wanted = new URLSearchParams(location.search);
  const select = $("counter");
  select.replaceChildren(...state.counters.map((c) => option(c.name)));
  state.counter = state.counters.find((c) => c.name === wanted.get("counter")) ?? state.counters[0] ?? null;
  if (!state.counter) return;
  select.value = state.counter.name;
  fillWindows(wanted.get("window"));
}

function fillWindows(wanted) {
  const labels = state.counter.windows.map((w) => w.size);
  const smallest = [...labels].sort((a, b) => windowSeconds(a) - windowSeconds(b))[0];
  $("window").replaceChildren(...labels.map(option));
  state.window = labels.includes(wanted) ? wanted : smallest;
  $("window").value = state.window;
}

function option(text) {
  const node = document.createElement("option");
  node.textContent = node.value = text;
  return node;
}

function picked() {
  state.picked = null;
  const here = new URLSearchParams({ counter: state.counter.name, window: state.window });
  history.replaceState(null, "", `?${here}`);
  tick();
}

$("counter").addEventListener("change", (event) => {
  state.counter = state.counters.find((c) => c.name === event.target.value);
  fillWindows(state.window);
  picked();
});
$("window").addEventListener("change", (event) => {
  state.window = event.target.value;
  picked();
});
$("follow").addEventListener("click", () => {
  state.picked = null;
  tick();
});

// ---- showing ----

function ago(seconds) {
  const s = Math.max(0, seconds);
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

// A time of day, with its date once that is not obvious.
const moment = (seconds) => (nowS() - seconds > 43200 ? date : time).format(seconds * 1000);

function tile(id, figure, note, off = false) {
  $(id).textContent = figure;
  $(id).classList.toggle("off", off);
  $(`${id}-note`).textContent = note || "\u00a0";
}

function showStatus(status) {
  const { partitions } = status;
  const rate = eventRate(partitions);
  const consumed = partitions.reduce((sum, p) => sum + p.ledger.consumed, 0);
  const shown = rate === null ? "–" : rate < 10 && rate > 0 ? rate.toFixed(1) : count.format(Math.round(rate));
  tile("rate", shown, `${count.format(consumed)} in all`);
  showMoment("as-of", status.data_as_of, "nothing is counted yet", STALE_S);
  showMoment("complete", status.complete_until, "not known for every partition yet", Infinity);
  const known = partitions.filter((p) => p.lag_records !== null);
  const records = Math.max(0, ...known.map((p) => p.lag_records));
  const behind = Math.max(0, ...known.map((p) => p.lag_seconds ?? 0));
  const lagNote = known.length === 0 ? "not known yet" : records === 0 ? "all is counted" : `${ago(behind)} behind`;
  tile("lag", known.length === 0 ? "–" : count.format(records), known.length && records ? `records, ${lagNote}` : lagNote);
  $("topic").textContent = partitions[0]?.topic ?? "";
  $("partitions").replaceChildren(...partitions.map(partitionRow));
}

function showMoment(id, at, unknown, limit) {
  if (at === null) return tile(id, "–", unknown);
  const age = nowS() - at;
  tile(id, `${ago(age)} ago`, moment(at), age > limit);
}

// Events a second over the last flushes: how far the ledgers moved between what was written when.
function eventRate(partitions) {
  const at = Math.max(...partitions.map((p) => p.updated_at ?? 0), 0);
  const consumed = partitions.reduce((sum, p) => sum + p.ledger.consumed, 0);
  const { samples } = state;
  const last = samples.at(-1);
  // A store that went back in time starts the measurement again.
  if (last && (at < last.at || consumed < last.consumed)) samples.length = 0;
  if (at > 0 && at !== samples.at(-1)?.at) samples.push({ at, consumed });
  while (samples.length > 2 && samples[1].at <= at - RATE_OVER_MS) samples.shift();
  if (samples.length < 2 || nowS() * 1000 - at > STALE_S * 1000) return null;
  return ((consumed - samples[0].consumed) * 1000) / (at - samples[0].at);
}

function cell(text, className = "") {
  const node = document.createElement("td");
  node.textContent = text;
  node.className = className;
  return node;
}

function row(...cells) {
  const node = document.createElement("tr");
  node.append(...cells);
  return node;
}

function partitionRow(p) {
  const number = (n) => cell(n === null ? "–" : count.format(n), "n");
  const age = (ms) => cell(ms === null ? "–" : `${ago(nowS() - ms / 1000)} ago`, "n");
  return row(
    cell(String(p.partition)), stateCell(p), number(p.lag_records), number(p.ledger.consumed), number(p.ledger.counted),
    number(p.ledger.dead_lettered), number(p.ledger.lost), number(p.next_offset), age(p.watermark), age(p.updated_at),
  );
}

function stateCell(p) {
  const node = document.createElement("td");
  const name = document.createElement("span");
  const dot = document.createElement("span");
  dot.className = "dot";
  name.className = "state";
  name.dataset.state = p.state;
  name.append(dot, p.state);
  node.append(name);
  if (p.reason) {
    const reason = document.createElement("div");
    reason.className = "reason";
    reason.textContent = p.reason;
    node.append(reason);
  }
  return node;
}

let view = null;

function showSeries(shown) {
  view = shown;
  const { series, bucket, size } = shown;
  const to = Math.floor(nowS() / size) * size + size;
  $("chart-title").textContent = `${series.counter}, events per ${series.window}`;
  chart.show({ buckets: series.buckets, from: to - size * BARS, to, size, selected: bucket?.start ?? null });
  const sum = series.buckets.reduce((all, b) => all + b.total, 0);
  $("chart").setAttribute("aria-label", `${count.format(sum)} events in ${series.buckets.length} windows of ${series.window}`);
  $("follow").hidden = state.picked === null;
  showReadout();
  showKeys(shown);
}

function span(bucket) {
  const format = bucket.end - bucket.start >= 86400 || nowS() - bucket.start > 43200 ? date : time;
  return `${format.format(bucket.start * 1000)} – ${format.format(bucket.end * 1000)}`;
}

function showReadout() {
  if (!view) return;
  const bucket = chart.hovered ?? view.bucket;
  if (!bucket) return void ($("readout").textContent = "No window of this range is kept.");
  const kind = [bucket.final ? "final" : "not final yet", bucket.partial ? "counted in part" : ""].filter(Boolean);
  $("readout").textContent = `${span(bucket)}: ${count.format(bucket.total)} events, ${kind.join(", ")}`;
}

function keyText(key, by) {
  if (by.length > 1) {
    try {
      return JSON.parse(key).map((part) => part || "(none)").join(" · ");
    } catch {
      // A key that was cut at its limit is no JSON any more.
    }
  }
  return key === "" ? "(none)" : key;
}

function showKeys({ bucket, series }) {
  const counter = state.counters.find((c) => c.name === series.counter);
  const by = counter?.by ?? [];
  $("keys-title").textContent = bucket ? `Top keys, ${span(bucket)}` : "Top keys";
  $("keys-by").textContent = by.join(" · ") || "Key";
  const keys = bucket?.keys ?? [];
  const share = (n) => (bucket.total > 0 ? n / bucket.total : 0);
  const line = (name, n, className) => {
    const first = cell(name, "");
    first.style.setProperty("--share", className ? 0 : share(n).toFixed(4));
    const node = row(first, cell(count.format(n), "n"), cell(`${(share(n) * 100).toFixed(1)} %`, "n"));
    node.className = className;
    return node;
  };
  const lines = keys.map(({ key, count: n }) => line(keyText(key, by), n, ""));
  const rest = bucket ? bucket.total - bucket.other - keys.reduce((sum, k) => sum + k.count, 0) : 0;
  if (keys.length && rest > 0) lines.push(line("all other keys", rest, "rest"));
  if (bucket?.other) lines.push(line("keys beyond max_keys", bucket.other, "rest"));
  $("keys").replaceChildren(...lines);
  $("keys-note").textContent = lines.length
    ? ""
    : by.length === 0 ? "This counter is a plain total: it has no keys." : "Nothing was counted in this window yet.";
}

// ---- what is wrong ----

function showBanners(error) {
  const banners = [];
  const { status } = state;
  if (error) {
    const since = state.lastOk === null ? "" : ` What you see is from ${moment(state.lastOk)}.`;
    banners.push(["bad", `No answer from streamgauge: ${error.message}.${since}`]);
  }
  if (status) {
    const stopped = status.partitions.filter((p) => p.state === "stopped").map((p) => p.partition);
    if (status.partitions.length === 0) {
      banners.push(["info", "Nothing is counted yet. An event shows up here a few seconds after it was accepted."]);
    } else if (nowS() - status.data_as_of > STALE_S) {
      banners.push(["", `These counts are from ${moment(status.data_as_of)}: since then a partition was not counted.`]);
    }
    if (stopped.length) banners.push(["bad", `Stopped: partition ${stopped.join(", ")}. The table below says why.`]);
    if (status.unaccounted !== 0) {
      banners.push(["bad", `${count.format(status.unaccounted)} records are unaccounted for. This is a bug: please report it.`]);
    }
  }
  const texts = banners.map(([, text]) => text).join("\n");
  if (texts === $("banners").dataset.texts) return;
  $("banners").dataset.texts = texts;
  $("banners").replaceChildren(...banners.map(([kind, text]) => {
    const node = document.createElement("p");
    node.className = `banner ${kind}`;
    node.textContent = text;
    return node;
  }));
}

function pulse(name, text) {
  $("pulse").dataset.state = name;
  $("pulse-text").textContent = text;
}

// ---- the loop ----

let timer = null, running = false, again = false;

async function tick() {
  clearTimeout(timer);
  if (running) return void (again = true);
  running = true;
  try {
    await poll();
    pulse("live", `live, ${time.format(nowS() * 1000)}`);
    showBanners(null);
  } catch (error) {
    pulse("lost", "not connected");
    // What is shown grows old all the same.
    if (state.status) showStatus(state.status);
    showBanners(error);
  }
  running = false;
  const soon = again ? 0 : POLL_MS;
  again = false;
  if (!document.hidden) timer = setTimeout(tick, soon);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) tick();
});
tick();
