// A line for each partition, with the reason of one that does not go on.

import { $, cell, fill, node, row, say } from "/assets/dom.js";
import { age, count, now } from "/assets/format.js";

function stateCell(p) {
  const name = node("span", "state", node("span", "dot"), p.state);
  name.dataset.state = p.state;
  const made = node("td", "", name);
  if (p.reason) made.append(node("div", "reason", p.reason));
  return made;
}

function partitionRow(p) {
  const number = (n) => cell(n === null ? "–" : count.format(n), "n");
  const since = (ms) => cell(ms === null ? "–" : `${age(now() - ms / 1000)} ago`, "n");
  const lag = p.lag_seconds === null ? "–" : age(p.lag_seconds);
  return row(
    cell(String(p.partition)), stateCell(p), number(p.lag_records), cell(lag, "n"), number(p.ledger.consumed),
    number(p.ledger.counted), number(p.ledger.duplicate), number(p.ledger.dead_lettered), number(p.ledger.lost),
    number(p.next_offset), since(p.watermark), since(p.updated_at),
  );
}

export function showPartitions(status) {
  say("topic", status.partitions[0]?.topic ?? "");
  fill($("partitions"), status.partitions.map(partitionRow));
}
