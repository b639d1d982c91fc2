// How fast things go: how far the ledgers and the log's end moved between what was written when.

import { now } from "/assets/format.js";

const OVER_MS = 15000;
// Processors write every few seconds, quiet partitions included. Longer than this, something is wrong.
export const STALE_S = 30;

const sum = (partitions, of) => partitions.reduce((all, p) => all + (of(p) ?? 0), 0);
export const total = (status, outcome) => sum(status.partitions, (p) => p.ledger[outcome]);

export class Rates {
  constructor() {
    this.samples = [];
  }

  // Events a second that came into the log and that were counted, or null while that is not known.
  note(status) {
    const { partitions } = status;
    const { samples } = this;
    const at = Math.max(0, ...partitions.map((p) => p.updated_at ?? 0));
    const consumed = total(status, "consumed"), end = sum(partitions, (p) => p.high_watermark);
    const last = samples.at(-1);
    // A store that went back in time starts the measurement again.
    if (last && (at < last.at || consumed < last.consumed)) samples.length = 0;
    if (at > 0 && at !== samples.at(-1)?.at) samples.push({ at, consumed, end });
    while (samples.length > 2 && samples[1].at <= at - OVER_MS) samples.shift();
  }

  now() {
    const first = this.samples[0], last = this.samples.at(-1);
    if (this.samples.length < 2 || now() - last.at / 1000 > STALE_S) return { into: null, out: null };
    const over = (last.at - first.at) / 1000;
    return { into: Math.max(0, last.end - first.end) / over, out: (last.consumed - first.consumed) / over };
  }
}
