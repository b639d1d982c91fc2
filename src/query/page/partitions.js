// A line for each partition, with the reason of one that does not go on.

import { $, cell, fill, node, row, say } from "/assets/dom.js";
import { age, count, moment, now } from "/assets/format.js";
import { isSilent } from "/assets/rates.js";

function stateCell(p, silent) {
  const name = node("span", "state", node("span", "dot"), p.state);
  name.dataset.state = silent ? "silent" : p.state;
  const made = node("td", "", name);
  if (p.reason) made.append(node("div", "reason", p.reason));
  // The state is what its processor said last.
  if (silent) made.append(node("div", "note", `not heard of since ${moment(p.updated_at / 1000)}`));
  return made;
}

function partitionRow(p, silent) {
  const number = (n) => cell(n === null ? "–" : count.format(n), "n");
  const since = (ms) => cell(ms === null ? "–" : `${age(now() - ms / 1000)} ago`, "n");
  const lag = p.lag_seconds === null ? "–" : age(p.lag_seconds);
  return row(
    cell(String(p.partition)), stateCell(p, silent), number(p.lag_records), cell(lag, "n"), number(p.ledger.consumed),
    number(p.ledger.counted), number(p.ledger.duplicate), number(p.ledger.dead_lettered), number(p.ledger.lost),
    number(p.next_offset), since(p.watermark), since(p.updated_at),
  );
}

export function showPartitions(status) {
  say("topic", status.partitions[0]?.topic ?? "");
  fill($("partitions"), status.partitions.map((p) => partitionRow(p, isSilent(status, p))));
}
