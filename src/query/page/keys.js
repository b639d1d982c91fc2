// The top keys of one window, each with its change against the window before.

import { $, cell, fill, node, row, say } from "/assets/dom.js";
import { amount, count, events, figure, keyText, span } from "/assets/format.js";
import { Poll } from "/assets/poll.js";
import { newest as newestOf } from "/assets/series.js";

const TOP = 20, FOUND = 50, MOST = 10000;
// A final window changes only by what comes late.
const EVERY_MS = 5000, FINAL_EVERY_MS = 30000;

export class Keys {
  constructor(isAwake) {
    this.poll = new Poll(isAwake);
    // The keys of another window of the same counter stay until the new ones are there.
    this.found = null;
    this.series = null;
  }

  show(view, picks, then) {
    const { counter, window, size, filter, at } = picks;
    const series = `${counter.name} ${window}`;
    if (series !== this.series) [this.series, this.found] = [series, null];
    const told = view.keys;
    if (counter.by.length === 0 || (told && isEnough(told, picks))) {
      this.poll.stop();
      this.found = told;
      return this.draw(picks);
    }
    // With very many keys the stream leaves them out.
    const start = at ?? told?.start ?? newestOf([...view.buckets.values()])?.start ?? null;
    if (start === null) return this.draw(picks);
    const top = filter ? MOST : FOUND;
    const range = new URLSearchParams({ window, from: start - size, to: start + 1, top });
    const every = view.buckets.get(start)?.final ? FINAL_EVERY_MS : EVERY_MS;
    const path = `/api/v1/counters/${encodeURIComponent(counter.name)}?${range}`;
    this.poll.want(JSON.stringify([series, start, top]), path, every, () => {
      if (this.poll.answer) this.found = keysOf(this.poll.answer, start, size, top);
      then();
    });
    this.draw(picks);
  }

  draw({ counter, size, filter }) {
    const { found } = this;
    say("keys-title", found ? `Top keys, ${span(found.start, found.start + size)}` : "Top keys");
    say("keys-by", counter.by.join(" · ") || "Key");
    say("keys-n", counter.kind === "count" ? "Events" : "Value");
    const named = (found?.keys ?? []).map((k) => ({ ...k, text: keyText(k.key, counter.by) }));
    const wanted = filter.toLowerCase();
    const matching = wanted ? named.filter((k) => k.text.toLowerCase().includes(wanted)) : named;
    const shown = matching.slice(0, wanted ? FOUND : TOP);
    const lines = shown.map((k) => line(k.text, amount(k), found, k));
    // Who is under two keys is in both: nothing is left to be told.
    if (found && !wanted && shown.length && counter.kind !== "distinct") {
      const beyond = counter.kind === "count" ? found.other : 0;
      const rest = amount(found) - beyond - shown.reduce((sum, k) => sum + amount(k), 0);
      if (rest > 0 && (counter.kind === "count" || found.distinct > shown.length || found.other)) lines.push(line(`all other keys (${count.format(Math.max(0, found.distinct - shown.length))})`, rest, found));
      if (beyond) lines.push(line("keys beyond max_keys", beyond, found));
    }
    fill($("keys"), lines);
    say("keys-note", this.note(counter, filter, matching.length, named.length));
  }

  note(counter, filter, matching, all) {
    const { found, poll } = this;
    if (counter.by.length === 0) return "This counter is a plain total: it has no keys.";
    if (poll.error !== null) return `The keys cannot be read: ${poll.error}. It is tried again.`;
    if (!found && poll.what !== null && poll.answer === null) return "Reading…";
    if (!found || all === 0) return "Nothing was counted in this window yet.";
    if (!filter) return "";
    const looked = all < MOST ? `${count.format(all)} keys` : `the ${count.format(all)} highest keys`;
    const beyond = found.other ? ` ${events(found.other)} of keys beyond max_keys (${count.format(counter.max_keys)}) have no name here.` : "";
    return `${count.format(matching)} of ${looked} match.${beyond}`;
  }
}

// The stream names the highest keys of one window. That is enough without a filter, or if these are all it has.
function isEnough(told, { filter, at }) {
  return (at === null || at === told.start) && (filter === "" || told.keys.length === told.distinct);
}

// The keys of a window out of the API's answer about it and the one before.
function keysOf({ buckets }, start, size, top) {
  const bucket = buckets.find((b) => b.start === start);
  if (!bucket) return null;
  const before = buckets.find((b) => b.start === start - size);
  const counts = new Map(before?.keys.map((k) => [k.key, amount(k)]));
  // With more keys before than were asked for, a key that is not among them may have been there all the same.
  const all = (before?.keys.length ?? 0) < top;
  const keys = bucket.keys.map((k) => ({ ...k, previous: counts.get(k.key) ?? (all ? 0 : null) }));
  return { ...bucket, keys, comparable: Boolean(before) && !before.partial, distinct: keys.length };
}

function line(name, n, found, key = null) {
  const share = amount(found) > 0 ? Math.max(0, n / amount(found)) : 0;
  const first = cell(name, "key");
  if (key) first.style.setProperty("--share", share.toFixed(4));
  const made = row(first, cell(figure(n), "n"), cell(`${(share * 100).toFixed(1)} %`, "n share"), change(key, found));
  if (!key) made.className = "rest";
  return made;
}

function change(key, found) {
  const previous = key?.previous_value ?? key?.previous ?? null;
  if (!key || !found.comparable || previous === null) return cell("", "n");
  const by = amount(key) - previous;
  const [kind, sign, words] = by > 0 ? ["up", "▲", "up"] : by < 0 ? ["down", "▼", "down"] : ["same", "", "unchanged"];
  const made = cell("", `n change ${kind}`);
  if (by === 0) return made.append(node("span", "", "="), node("span", "visually-hidden", words)), made;
  const percent = previous === 0 ? "new" : `${count.format(Math.round(Math.abs(by / previous) * 100))} %`;
  const arrow = node("span", "", `${sign} `);
  arrow.setAttribute("aria-hidden", "true");
  made.append(arrow, node("span", "visually-hidden", `${words} `), percent);
  made.title = `${figure(previous)} in the window before`;
  return made;
}
