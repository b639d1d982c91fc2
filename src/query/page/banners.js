// Whether the numbers can be trusted, in words, at the top: what is wrong, or that nothing is.

import { $, node, say } from "/assets/dom.js";
import { count, moment } from "/assets/format.js";
import { isSilent, isStale, total } from "/assets/rates.js";

function wrong({ status, lost, trouble, paused, seen }) {
  const found = [];
  const from = seen === null ? "" : ` What you see is from ${moment(seen)}.`;
  if (paused) found.push(["info", `Paused.${from}`]);
  if (lost) found.push(["bad", `${lost}${from} It is tried again.`]);
  if (trouble) found.push(["bad", `The store cannot be read: ${trouble}.${from} It is tried again.`]);
  if (!status) return found;
  const stopped = status.partitions.filter((p) => p.state === "stopped");
  const { ingest, processor } = status.process;
  if (!lost && !trouble && !paused) {
    if (ingest?.reason) found.push(["bad", `No events are taken: ${ingest.reason}.`]);
    if (processor?.reason && stopped.length === 0) found.push(["bad", `Nothing is counted: ${processor.reason}.`]);
    if (status.partitions.length === 0) {
      found.push(["info", "Nothing is counted yet. An event shows up here a few seconds after it was accepted."]);
    } else if (isStale(status)) {
      found.push(["", stale(status)]);
    }
  }
  if (stopped.length === 1) found.push(["bad", `Stopped: partition ${stopped[0].partition}: ${stopped[0].reason}.`]);
  if (stopped.length > 1) {
    found.push(["bad", `Stopped: partitions ${stopped.map((p) => p.partition).join(", ")}. The table below says why.`]);
  }
  if (status.unaccounted !== 0) {
    found.push(["bad", `${count.format(status.unaccounted)} records are unaccounted for. This is a bug: please report it.`]);
  }
  return found;
}

function stale(status) {
  const silent = status.partitions.filter((p) => isSilent(status, p)), since = moment(status.data_as_of);
  if (silent.length === status.partitions.length) return `Nothing was counted since ${since}. Does a processor run?`;
  const which = silent.length > 10 ? `${silent.length} partitions were` : `Partition ${silent.map((p) => p.partition).join(", ")} was`;
  return `${which} not counted since ${since}: these counts are not complete.`;
}

function verdict(status) {
  const lost = total(status, "lost");
  const but = lost ? `, but for ${count.format(lost)} that the log had lost` : "";
  if (status.complete_until === null) return `Every event that was read is counted exactly once${but}. Not all partitions are known to be complete yet.`;
  return `Every event up to ${moment(status.complete_until)} is counted, exactly once${but}.`;
}

export function showBanners(state) {
  const found = wrong(state);
  const texts = found.map(([, text]) => text).join("\n");
  if (texts !== ($("banners").dataset.texts ?? "")) {
    $("banners").dataset.texts = texts;
    $("banners").replaceChildren(...found.map(([kind, text]) => node("p", `banner ${kind}`, text)));
  }
  $("verdict").hidden = found.length > 0 || !state.status;
  if (!$("verdict").hidden) say("verdict-text", verdict(state.status));
}

export function pulse(name, text) {
  $("pulse").dataset.state = name;
  say("pulse-text", text);
}
