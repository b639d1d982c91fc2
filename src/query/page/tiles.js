// The figures at the top: who is there, how much, how fresh, how complete, how far behind.

import { $, say } from "/assets/dom.js";
import { age, count, moment, now, rate } from "/assets/format.js";
import { lagOf, total } from "/assets/rates.js";

function tile(id, figure, note, off = false) {
  say(id, figure);
  $(id).classList.toggle("off", off);
  say(`${id}-note`, note || "\u00a0");
}

function showMoment(id, at, unknown, limit) {
  if (at === null) return tile(id, "–", unknown);
  tile(id, `${age(now() - at)} ago`, moment(at), now() - at > limit);
}

function lagNote({ seconds, records, unknown }) {
  if (seconds === null) return "not known yet";
  const known = records === 0 ? "all is counted" : `${count.format(records)} ${records === 1 ? "record waits" : "records wait"}`;
  return unknown === 0 ? known : `${known}; unknown for ${unknown} ${unknown === 1 ? "partition" : "partitions"}`;
}

// Only where a distinct counter can tell.
function showActive(active) {
  $("active-tile").hidden = !active;
  if (active) tile("active", count.format(active.value), `different ${active.of} in ${active.within / 60} minutes`);
}

export function showTiles(status, rates) {
  showActive(status.active);
  tile("rate", rate(rates.out), `${count.format(total(status, "consumed"))} in all`);
  showMoment("as-of", status.data_as_of, "nothing is counted yet", status.stale_after);
  showMoment("complete", status.complete_until, "not known for every partition yet", Infinity);
  const lag = lagOf(status.partitions);
  const behind = lag.seconds > status.stale_after || lag.unknown > 0;
  tile("lag", lag.seconds === null ? "–" : age(lag.seconds), lagNote(lag), behind);
}
