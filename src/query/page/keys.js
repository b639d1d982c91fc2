// The top keys of one window, each with its change against the window before.

import { $, cell, fill, node, row, say } from "/assets/dom.js";
import { count, keyText, span } from "/assets/format.js";
import { ask } from "/assets/live.js";

const TOP = 20, FOUND = 50, MOST = 10000;
const EVERY_MS = 5000;

export class Keys {
  constructor() {
    this.asked = null;
    this.askedAt = 0;
    this.found = null;
    this.error = null;
  }

  // What the stream tells is enough, unless another window or certain keys are wanted: then the API is asked.
  show(view, { counter, window, size, filter, at }, again) {
    const newest = view.keys;
    if (at === null && filter === "") {
      this.asked = null;
      return this.draw(newest, { counter, size, filter });
    }
    const start = at ?? newest?.start ?? null;
    if (start === null) return this.draw(null, { counter, size, filter });
    const what = JSON.stringify([counter.name, window, start, filter !== ""]);
    if (what !== this.asked || Date.now() - this.askedAt > EVERY_MS) {
      if (what.slice(0, -6) !== this.asked?.slice(0, -6)) this.found = null;
      [this.asked, this.askedAt] = [what, Date.now()];
      this.ask(counter.name, window, start, size, filter ? MOST : FOUND).then(again, () => again());
    }
    this.draw(this.found, { counter, size, filter });
  }

  async ask(counter, window, start, size, top) {
    const what = this.asked;
    const range = new URLSearchParams({ window, from: start - size, to: start + 1, top });
    try {
      const { buckets } = await ask(`/api/v1/counters/${encodeURIComponent(counter)}?${range}`);
      if (what !== this.asked) return;
      const bucket = buckets.find((b) => b.start === start);
      const before = buckets.find((b) => b.start === start - size);
      const counts = new Map(before?.keys.map((k) => [k.key, k.count]));
      // With more keys before than were asked for, a key that is not among them may have been there all the same.
      const all = (before?.keys.length ?? 0) < top;
      const keys = bucket?.keys.map((k) => ({ ...k, previous: counts.get(k.key) ?? (all ? 0 : null) })) ?? [];
      this.found = bucket ? { ...bucket, keys, comparable: Boolean(before) && !before.partial, distinct: keys.length } : null;
      this.error = null;
    } catch (error) {
      if (what === this.asked) this.error = error.message;
    }
  }

  draw(found, { counter, size, filter }) {
    say("keys-title", found ? `Top keys, ${span(found.start, found.start + size)}` : "Top keys");
    say("keys-by", counter.by.join(" · ") || "Key");
    const named = (found?.keys ?? []).map((k) => ({ ...k, text: keyText(k.key, counter.by) }));
    const wanted = filter.toLowerCase();
    const matching = wanted ? named.filter((k) => k.text.toLowerCase().includes(wanted)) : named;
    const shown = matching.slice(0, wanted ? FOUND : TOP);
    const lines = shown.map((k) => line(k.text, k.count, found, k));
    if (found && !wanted && shown.length) {
      const rest = found.total - found.other - shown.reduce((sum, k) => sum + k.count, 0);
      if (rest > 0) lines.push(line(`all other keys (${count.format(Math.max(0, found.distinct - shown.length))})`, rest, found));
      if (found.other) lines.push(line("keys beyond max_keys", found.other, found));
    }
    fill($("keys"), lines);
    say("keys-note", this.note(counter, found, filter, matching.length, named.length));
  }

  note(counter, found, filter, matching, all) {
    if (counter.by.length === 0) return "This counter is a plain total: it has no keys.";
    if (this.asked && this.error) return `The keys cannot be read: ${this.error}.`;
    if (!found || all === 0) return this.asked && !found ? "Reading…" : "Nothing was counted in this window yet.";
    if (filter) return `${count.format(matching)} of ${count.format(all)} keys match.`;
    return "";
  }
}

function line(name, n, found, key = null) {
  const share = found.total > 0 ? n / found.total : 0;
  const first = cell(name, "key");
  if (key) first.style.setProperty("--share", share.toFixed(4));
  const made = row(first, cell(count.format(n), "n"), cell(`${(share * 100).toFixed(1)} %`, "n share"), change(key, found));
  if (!key) made.className = "rest";
  return made;
}

function change(key, found) {
  if (!key || !found.comparable || key.previous === null) return cell("", "n");
  const by = key.count - key.previous;
  const [kind, sign, words] = by > 0 ? ["up", "▲", "up"] : by < 0 ? ["down", "▼", "down"] : ["same", "", "unchanged"];
  const made = cell("", `n change ${kind}`);
  if (by === 0) return made.append(node("span", "", "="), node("span", "visually-hidden", words)), made;
  const percent = key.previous === 0 ? "new" : `${count.format(Math.round((Math.abs(by) / key.previous) * 100))} %`;
  const arrow = node("span", "", `${sign} `);
  arrow.setAttribute("aria-hidden", "true");
  made.append(arrow, node("span", "visually-hidden", `${words} `), percent);
  made.title = `${count.format(key.previous)} in the window before`;
  return made;
}
