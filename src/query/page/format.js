// Numbers and times as people read them.

export const count = new Intl.NumberFormat("en");
export const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
export const time = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
export const minute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
export const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

// The server's clock decides how old something is, for the times are its processors'.
let skew = 0;

export function noteServerTime(seconds) {
  const differs = seconds - Date.now() / 1000;
  if (Math.abs(differs - skew) > 1) skew = differs;
}

export const now = () => Date.now() / 1000 + skew;

export function age(seconds) {
  const s = Math.max(0, seconds);
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

// A time of day, with its date once that is not obvious.
export const moment = (seconds) => (now() - seconds > 43200 ? date : time).format(seconds * 1000);

export function span(start, end) {
  const format = end - start >= 86400 || now() - start > 43200 ? date : time;
  return `${format.format(start * 1000)} – ${format.format(end * 1000)}`;
}

// What a bucket or a key amounts to: counters that only count have no value but how many.
export const amount = (it) => it.value ?? it.total ?? it.count;
const exact = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
export const figure = (n) => exact.format(n);

// The same in words, for a counter of that kind.
export function told(n, kind) {
  if (kind === "sum") return `${figure(n)} in all`;
  return kind === "distinct" ? `about ${figure(n)} different` : events(n);
}

// What a window's number is called.
export function measured({ kind, of }) {
  if (kind === "sum") return `sum of ${of}`;
  return kind === "distinct" ? `different ${of}` : "events";
}

export const events = (n) => `${count.format(n)} ${n === 1 ? "event" : "events"}`;

export function rate(perSecond) {
  if (perSecond === null) return "–";
  return perSecond > 0 && perSecond < 10 ? perSecond.toFixed(1) : count.format(Math.round(perSecond));
}

// "10s", "1m 30s" and the like, as the configuration writes them, in seconds.
export function windowSeconds(label) {
  const units = { s: 1, m: 60, h: 3600, d: 86400, w: 604800, month: 2630016, M: 2630016, y: 31557600 };
  const parts = [...label.matchAll(/(\d+)\s*(month|M|y|s|m(?!s)|h|d|w)[a-z]*/g)];
  return parts.reduce((sum, [, n, unit]) => sum + Number(n) * units[unit], 0) || 60;
}

export function keyText(key, by) {
  if (by.length > 1) {
    try {
      return JSON.parse(key).map((part) => part || "(none)").join(" · ");
    } catch {
      // A key that was cut at its limit is no JSON any more.
    }
  }
  return key === "" ? "(none)" : key;
}
