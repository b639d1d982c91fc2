// The way of an event, hop by hop: how fast, how far behind, and what became of the rest.

import { $, fill, node } from "/assets/dom.js";
import { age, count, now, rate, short } from "/assets/format.js";
import { STALE_S, total } from "/assets/rates.js";
import { worst } from "/assets/tiles.js";

function hop({ name, state, figure, unit, facts }) {
  const lines = facts.map(([label, value, bad]) =>
    node("div", bad ? "bad" : "", node("dt", "", label), node("dd", "", value)));
  const head = node("h3", "", node("span", "dot"), name);
  const made = node("li", "hop", head, node("p", "hop-figure", figure, node("small", "", ` ${unit}`)), node("dl", "", ...lines));
  made.dataset.state = state;
  head.append(node("span", "visually-hidden", `, ${{ good: "works", warn: "needs a look", bad: "is down", idle: "is quiet" }[state]}`));
  return made;
}

export function showPipeline(status, rates, trouble) {
  const { partitions } = status;
  const lag = worst(partitions);
  const some = (name) => total(status, name);
  const number = (label, n, bad = false) => [label, count.format(n), bad && n > 0];
  const stopped = partitions.filter((p) => p.state === "stopped").length;
  const paused = partitions.filter((p) => p.state === "paused").length;
  const stale = status.data_as_of !== null && now() - status.data_as_of > STALE_S;
  const ends = partitions.reduce((sum, p) => sum + (p.high_watermark ?? 0), 0);
  const behind = lag !== null && lag.seconds > STALE_S;
  fill($("pipeline"), [
    hop({
      name: "Ingest", state: rates.into === null || rates.into === 0 ? "idle" : "good",
      figure: rate(rates.into), unit: "events/s",
      facts: [["seen at", "log's end"]],
    }),
    hop({
      name: "Log", state: behind ? "warn" : "good", figure: short.format(lag?.records ?? 0), unit: "waiting",
      facts: [number("records", ends), ["partitions", count.format(partitions.length)], number("lost", some("lost"), true)],
    }),
    hop({
      name: "Processor", state: stopped ? "bad" : paused || behind || stale ? "warn" : "good",
      figure: rate(rates.out), unit: "events/s",
      facts: [
        ["lag", lag ? age(lag.seconds) : "–", behind], number("duplicates", some("duplicate")),
        number("dead letters", some("dead_lettered"), true), number("stopped", stopped, true),
      ],
    }),
    hop({
      name: "Store", state: trouble ? "bad" : stale || status.unaccounted ? "warn" : "good",
      figure: short.format(some("counted")), unit: "counted",
      facts: [
        ["written", status.data_as_of === null ? "–" : `${age(now() - status.data_as_of)} ago`, stale],
        number("too late", some("expired")), number("filtered", some("filtered")),
        number("unaccounted", status.unaccounted, true),
      ],
    }),
  ]);
}
