// The four figures at the top: how much, how fresh, how complete, how far behind.

import { $, say } from "/assets/dom.js";
import { age, count, moment, now, rate } from "/assets/format.js";
import { STALE_S, total } from "/assets/rates.js";

const BEHIND_S = 30;

function tile(id, figure, note, off = false) {
  say(id, figure);
  $(id).classList.toggle("off", off);
  say(`${id}-note`, note || "\u00a0");
}

// The partition that is furthest behind. Nothing to count is 0 s; not known is null.
export function worst(partitions) {
  const known = partitions.filter((p) => p.lag_records !== null);
  if (known.length === 0) return null;
  const seconds = Math.max(...known.map((p) => p.lag_seconds ?? 0));
  const records = known.reduce((sum, p) => sum + p.lag_records, 0);
  return { seconds, records };
}

function showMoment(id, at, unknown, limit) {
  if (at === null) return tile(id, "–", unknown);
  tile(id, `${age(now() - at)} ago`, moment(at), now() - at > limit);
}

export function showTiles(status, rates) {
  tile("rate", rate(rates.out), `${count.format(total(status, "consumed"))} in all`);
  showMoment("as-of", status.data_as_of, "nothing is counted yet", STALE_S);
  showMoment("complete", status.complete_until, "not known for every partition yet", Infinity);
  const lag = worst(status.partitions);
  if (!lag) return tile("lag", "–", "not known yet");
  const note = lag.records === 0 ? "all is counted" : `${count.format(lag.records)} records wait`;
  tile("lag", age(lag.seconds), note, lag.seconds > BEHIND_S);
}
