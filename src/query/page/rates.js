// How fast things go, and what has come on top lately: from what the ledgers and the log's end said when.

import { now } from "/assets/format.js";

const OVER_MS = 15000, RECENT_S = 60;

const sum = (partitions, of) => partitions.reduce((all, p) => all + (of(p) ?? 0), 0);
export const total = (status, outcome) => sum(status.partitions, (p) => p.ledger[outcome]);

// The server says how old counts may be: it knows how often they are written, with nothing to count too.
export const isSilent = ({ stale_after: limit }, { updated_at: at }) => at !== null && now() - at / 1000 > limit;
export const isStale = (status) => status.partitions.some((p) => isSilent(status, p));

// How far behind the partitions are together, and the furthest of them. Nothing to count is 0 s; those of which it is
// not known are counted apart, and with none left there is nothing to say.
export function lagOf(partitions) {
  const isKnown = (p) => p.lag_records === 0 || (p.lag_records !== null && p.lag_seconds !== null);
  const known = partitions.filter(isKnown), unknown = partitions.length - known.length;
  if (known.length === 0) return { seconds: null, records: null, unknown };
  return { seconds: Math.max(...known.map((p) => p.lag_seconds)), records: sum(known, (p) => p.lag_records), unknown };
}

export class Rates {
  constructor() {
    this.samples = [];
    this.staleAfter = 0;
  }

  note({ partitions, stale_after: staleAfter }) {
    const { samples } = this;
    const at = Math.max(0, ...partitions.map((p) => p.updated_at ?? 0));
    const consumed = sum(partitions, (p) => p.ledger.consumed), end = sum(partitions, (p) => p.high_watermark);
    const ends = partitions.filter((p) => p.high_watermark !== null).length;
    const last = samples.at(-1);
    // A store that went back in time starts the measurement again, and so does a partition that turns up.
    if (last && (at < last.at || consumed < last.consumed || ends !== last.ends)) samples.length = 0;
    if (at > 0 && at !== samples.at(-1)?.at) samples.push({ at, consumed, end, ends });
    while (samples.length > 2 && samples[1].at <= at - OVER_MS) samples.shift();
    this.staleAfter = staleAfter;
  }

  // Events a second that came into the log and that were counted, or null while that is not known.
  now() {
    const first = this.samples[0], last = this.samples.at(-1);
    if (this.samples.length < 2 || now() - last.at / 1000 > this.staleAfter) return { into: null, out: null };
    const over = (last.at - first.at) / 1000;
    return { into: Math.max(0, last.end - first.end) / over, out: (last.consumed - first.consumed) / over };
  }
}

// By how much counts have grown in the last minute, as far as this page has seen it.
export class Growth {
  constructor() {
    this.samples = [];
  }

  note(counts) {
    const { samples } = this, at = now();
    const last = samples.at(-1)?.counts;
    // Smaller than before: a process was started anew, or the store went back in time.
    if (last && Object.entries(counts).some(([name, n]) => n < (last[name] ?? 0))) samples.length = 0;
    samples.push({ at, counts });
    while (samples.length > 1 && samples[1].at <= at - RECENT_S) samples.shift();
  }

  of(name) {
    const first = this.samples[0]?.counts[name], last = this.samples.at(-1)?.counts[name];
    return first === undefined || last === undefined ? 0 : last - first;
  }
}
