// What is wrong, in words, at the top. Nothing there means that nothing is.

import { $, node } from "/assets/dom.js";
import { count, moment, now } from "/assets/format.js";
import { STALE_S } from "/assets/rates.js";

export function showBanners({ status, lost, trouble, paused, seen }) {
  const banners = [];
  const from = seen === null ? "" : ` What you see is from ${moment(seen)}.`;
  if (paused) banners.push(["info", `Paused.${from}`]);
  if (lost) banners.push(["bad", `${lost}${from} It is tried again.`]);
  if (trouble) banners.push(["bad", `The store cannot be read: ${trouble}.${from} It is tried again.`]);
  if (status && !lost && !trouble && !paused) {
    if (status.partitions.length === 0) {
      banners.push(["info", "Nothing is counted yet. An event shows up here a few seconds after it was accepted."]);
    } else if (now() - status.data_as_of > STALE_S) {
      banners.push(["", `These counts are from ${moment(status.data_as_of)}: since then a partition was not counted.`]);
    }
  }
  if (status) {
    const stopped = status.partitions.filter((p) => p.state === "stopped").map((p) => p.partition);
    if (stopped.length) banners.push(["bad", `Stopped: partition ${stopped.join(", ")}. The table below says why.`]);
    if (status.unaccounted !== 0) {
      banners.push(["bad", `${count.format(status.unaccounted)} records are unaccounted for. This is a bug: please report it.`]);
    }
  }
  const texts = banners.map(([, text]) => text).join("\n");
  if (texts === ($("banners").dataset.texts ?? "")) return;
  $("banners").dataset.texts = texts;
  $("banners").replaceChildren(...banners.map(([kind, text]) => node("p", `banner ${kind}`, text)));
}

export function pulse(name, text) {
  $("pulse").dataset.state = name;
  if ($("pulse-text").textContent !== text) $("pulse-text").textContent = text;
}
