// The way of an event, hop by hop: how fast, how far behind, and what became of the rest.

import { $, fill, node, say } from "/assets/dom.js";
import { age, count, now, rate, short } from "/assets/format.js";
import { Growth, isStale, lagOf, total } from "/assets/rates.js";

const STATES = { good: "works", warn: "needs a look", bad: "is down", idle: "is quiet" };
const ELSEWHERE = "not in this process – see Grafana's Overview";
const HERE = "Seen by this process since it started";

const growth = new Growth();

// All counts of which it matters whether they grow, in one place. What happens in another process is not there.
function countsOf({ partitions, process, ...status }) {
  const some = (name) => total({ partitions }, name);
  return {
    duplicates: some("duplicate"), expired: some("expired"), filtered: some("filtered"), lost: some("lost"),
    deadLetters: some("dead_lettered"), unaccounted: status.unaccounted,
    rejected: process.ingest?.rejected, refused: process.ingest?.refused_requests, failed: process.ingest?.failed_requests,
    logErrors: process.log?.errors, conflicts: process.processor?.flush_conflicts, failures: process.processor?.flush_failures,
  };
}

export const noteGrowth = (status) => growth.note(countsOf(status));

// A line of a hop: what, how much, what it means. `bad` marks it.
const fact = (label, text, title, bad = false) => ({ label, text, title, bad });

// The same for a count, with what came on top in the last minute. `is` says what of it is bad: "any" of it, only what
// is "new", or "none".
function tally(counts, label, name, is, title) {
  const n = counts[name], more = growth.of(name);
  if (n === undefined) return fact(label, "–", `${title}: ${ELSEWHERE}.`);
  const bad = is === "any" ? n > 0 : is === "new" && more > 0;
  return fact(label, count.format(n) + (more > 0 ? ` (+${count.format(more)})` : ""), `${title}.`, bad);
}

function hop({ name, state, figure, unit, title, facts, reason }) {
  const lines = facts.map(({ label, text, title, bad }) => {
    const line = node("div", bad ? "bad" : "", node("dt", "", label), node("dd", "", text));
    line.title = title;
    return line;
  });
  const head = node("h3", "", node("span", "dot"), name, node("span", "visually-hidden", `, ${STATES[state]}`));
  const shown = node("p", "hop-figure", figure, node("small", "", ` ${unit}`));
  shown.title = title;
  const made = node("li", "hop", head, shown, node("dl", "", ...lines));
  if (reason) made.append(node("p", "reason", reason));
  made.dataset.state = state;
  return made;
}

function ingest({ process }, rates, counts) {
  const here = process.ingest;
  const facts = here ? [
    fact("accepted", count.format(here.accepted), `Events that are stored in the log. ${HERE}.`),
    tally(counts, "rejected", "rejected", "none", `Events that are none, by their sender's mistake. ${HERE}`),
    tally(counts, "refused", "refused", "none", `Requests that were answered 4xx. ${HERE}`),
    tally(counts, "errors", "failed", "new", `Requests that were answered 5xx: their events were not stored. ${HERE}`),
  ] : [fact("errors", ELSEWHERE, "Events that are not taken never get to the store, and another process takes them.")];
  const quiet = rates.into === null || rates.into === 0;
  return hop({
    name: "Ingest", state: here?.reason ? "bad" : growth.of("failed") ? "warn" : quiet ? "idle" : "good", facts,
    figure: rate(rates.into), unit: "events/s", title: "How fast the log grows, whoever writes to it.", reason: here?.reason,
  });
}

function log({ partitions, stale_after: limit }, lag, counts) {
  const ends = partitions.reduce((sum, p) => sum + (p.high_watermark ?? 0), 0);
  const trouble = lag.seconds > limit || lag.unknown > 0 || growth.of("logErrors") || growth.of("lost");
  return hop({
    name: "Log", state: trouble ? "warn" : lag.seconds === null ? "idle" : "good",
    figure: lag.records === null ? "–" : short.format(lag.records), unit: "waiting", title: "Records that are not counted yet.",
    facts: [
      fact("records", count.format(ends), "The ends of all partitions together."),
      fact("partitions", count.format(partitions.length), "Partitions of the topic."),
      tally(counts, "lost", "lost", "any", "Records that were gone before they were counted, in gaps that somebody accepted"),
      tally(counts, "errors", "logErrors", "new", `Errors that the log's client reported. ${HERE}`),
    ],
  });
}

function processor({ partitions, process, stale_after: limit }, rates, lag, counts, stale) {
  const some = (state) => partitions.filter((p) => p.state === state).length;
  const stopped = some("stopped"), behind = lag.seconds > limit, reason = process.processor?.reason;
  const trouble = behind || stale || some("paused") || growth.of("deadLetters");
  return hop({
    name: "Processor", state: stopped || reason ? "bad" : trouble ? "warn" : lag.seconds === null ? "idle" : "good",
    figure: rate(rates.out), unit: "events/s", title: "How fast records are counted.",
    // The table of partitions has the reason of one that is stopped.
    reason: stopped ? null : reason,
    facts: [
      fact("lag", lag.seconds === null ? "–" : age(lag.seconds), "Age of the oldest watermark of a partition with records to count.", behind),
      tally(counts, "duplicates", "duplicates", "none", "Records whose event_id came before: not counted again"),
      tally(counts, "too late", "expired", "none", "Events that came after their windows were past being kept; one that comes late, but before that, is counted"),
      tally(counts, "filtered", "filtered", "none", "Events that no counter asks for"),
      tally(counts, "dead letters", "deadLetters", "new", "Records that are no events, kept in the dead-letter topic"),
      ...(stopped ? [fact("stopped", count.format(stopped), "Partitions that do not go on.", true)] : []),
    ],
  });
}

function store(status, counts, stale, trouble) {
  const { data_as_of: asOf } = status;
  return hop({
    name: "Store", state: trouble ? "bad" : stale || status.unaccounted || growth.of("failures") ? "warn" : asOf === null ? "idle" : "good",
    figure: short.format(total(status, "counted")), unit: "counted", title: "Records that changed a count.",
    facts: [
      fact("written", asOf === null ? "–" : `${age(now() - asOf)} ago`, "The oldest last write of a partition.", stale),
      tally(counts, "conflicts", "conflicts", "none", `Flushes that found another offset than they expected, as after partitions changed hands; nothing was written. ${HERE}`),
      tally(counts, "errors", "failures", "new", `Flushes that failed and are tried again. ${HERE}`),
      tally(counts, "unaccounted", "unaccounted", "any", "Offsets that the ledger does not explain: 0, or there is a bug"),
    ],
  });
}

function footnote({ process: { ingest, processor } }) {
  const here = ingest || processor ? "Accepted, rejected, refused, conflicts and errors: seen by this process since it started." : "";
  const elsewhere = ingest && processor ? "" : `–: ${ELSEWHERE}.`;
  return [here, elsewhere, "(+n): in the last minute."].filter(Boolean).join(" ");
}

export function showPipeline(status, rates, trouble) {
  const lag = lagOf(status.partitions), stale = isStale(status), counts = countsOf(status);
  fill($("pipeline"), [
    ingest(status, rates, counts), log(status, lag, counts), processor(status, rates, lag, counts, stale),
    store(status, counts, stale, trouble),
  ]);
  say("pipeline-note", footnote(status));
}
