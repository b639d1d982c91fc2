// The connection: a snapshot, then what changes, over an EventSource. It puts the two together to one view.

import { noteServerTime } from "/assets/format.js";

// Something comes each second. After this long without anything the connection is dead, whatever the browser thinks.
const SILENCE_MS = 15000;
const AGAIN_MS = 2000;
const ANSWER_MS = 8000;

export class Live {
  // `handlers`: view(view), trouble(text or null), lost(text or null).
  constructor(handlers) {
    this.handlers = handlers;
    this.source = null;
    this.path = null;
    this.view = null;
    this.heard = 0;
    this.again = null;
    setInterval(() => this.watch(), 1000);
  }

  open(counter, window) {
    this.path = `/api/v1/live?${new URLSearchParams({ counter, window })}`;
    this.connect();
  }

  close() {
    this.path = null;
    this.disconnect();
  }

  disconnect() {
    clearTimeout(this.again);
    this.source?.close();
    this.source = null;
  }

  connect() {
    this.disconnect();
    this.view = null;
    this.heard = Date.now();
    const source = new EventSource(this.path);
    const on = (kind, what) =>
      source.addEventListener(kind, (event) => {
        if (source !== this.source) return;
        this.heard = Date.now();
        what(JSON.parse(event.data));
      });
    on("snapshot", (all) => this.replace(all));
    on("delta", (changed) => this.apply(changed));
    on("trouble", ({ error }) => {
      this.handlers.lost(null);
      this.handlers.trouble(error);
    });
    source.addEventListener("error", () => source === this.source && this.failed());
    this.source = source;
  }

  failed() {
    this.handlers.lost("The connection to streamgauge is lost.");
    // The browser tries again by itself, but not after an answer that was no stream.
    if (this.source.readyState === EventSource.CLOSED) this.retry();
  }

  async retry() {
    this.disconnect();
    const path = this.path;
    // The browser does not tell why there was no stream; to be logged out is one reason.
    await ask("/api/v1/counters").catch(() => {});
    if (path !== null && path === this.path) this.again = setTimeout(() => this.connect(), AGAIN_MS);
  }

  watch() {
    if (!this.source || Date.now() - this.heard < SILENCE_MS) return;
    this.handlers.lost("The connection to streamgauge is lost.");
    this.connect();
  }

  replace(all) {
    this.view = { ...all, buckets: new Map(all.buckets.map((b) => [b.start, b])) };
    this.tell(all.now);
  }

  apply(changed) {
    const { view } = this;
    if (!view) return;
    for (const bucket of changed.buckets ?? []) view.buckets.set(bucket.start, bucket);
    for (const start of view.buckets.keys()) if (start < changed.first) view.buckets.delete(start);
    if (changed.status) view.status = changed.status;
    if (changed.keys !== undefined) view.keys = changed.keys;
    this.tell(changed.now);
  }

  tell(at) {
    noteServerTime(at);
    this.handlers.lost(null);
    this.handlers.trouble(null);
    this.handlers.view(this.view);
  }
}

// Asks the JSON API once. What is final has a tag, so a browser need not get it twice.
export async function ask(path, signal = null) {
  const signals = [AbortSignal.timeout(ANSWER_MS), signal].filter(Boolean);
  const response = await fetch(path, { signal: AbortSignal.any(signals), cache: "no-cache" });
  if (response.status === 401) logIn();
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error ?? `HTTP ${response.status}`);
  return body;
}

// Who is logged out is sent to the door, and comes back to what he looked at.
function logIn() {
  location.assign(`/login?next=${encodeURIComponent(location.search.slice(1))}`);
}
