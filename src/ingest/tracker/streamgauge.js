// The tracker. What is served has no comments and no indentation; see mod.rs.
//
//   <script async src="https://events.example.com/streamgauge.js" data-key="…"></script>
//
// An event that may have arrived is sent again for no longer than the server can tell that it is the same; one that
// certainly did not arrive is kept for a day.
(() => {
  const script = document.currentScript;
  const option = (name) => script.getAttribute("data-" + name);
  const early = (window.streamgauge || {}).q || [];
  const nav = navigator;
  if (nav.globalPrivacyControl || (option("dnt") != null && nav.doNotTrack == "1")) {
    window.streamgauge = () => {};
    return;
  }

  const endpoint = option("endpoint") || new URL("/events", script.src).href;
  const key = option("key");
  const prefix = "streamgauge:" + (key || endpoint) + ":";
  // Events of this page that wait: by id their text, when they may first have arrived, and when they were made.
  const waiting = new Map();
  let busy, timer, due = Infinity, failures = 0, most = 50;

  const warn = (...why) => console.warn("streamgauge:", ...why);
  // Storage may be blocked, full, or not there at all.
  const stored = (work) => {
    try {
      work(localStorage);
      return 1;
    } catch {}
  };
  const keep = (id, event) => {
    const name = prefix + id;
    waiting.set(id, event);
    // The last 200 survive the page. One that was stored must not look untried once it is not: rather none at all.
    stored((all) => (waiting.size < 201 || all.getItem(name)) && all.setItem(name, JSON.stringify([Date.now(), ...event]))) ||
      stored((all) => all.removeItem(name));
  };
  const forget = (id) => {
    waiting.delete(id);
    stored((all) => all.removeItem(prefix + id));
  };
  // Takes over what pages left behind that are gone. Should one still be there, the server tells that it is the same.
  const adopt = () => {
    stored((all) => {
      for (const name of Object.keys(all)) {
        const id = name.startsWith(prefix) && name.slice(prefix.length);
        if (!id || waiting.has(id)) continue;
        const [touched, ...event] = JSON.parse(all.getItem(name));
        if (Math.abs(Date.now() - touched) > 3e4) keep(id, event);
      }
    });
    soon(0);
  };

  const soon = (ms) => {
    if (Date.now() + ms >= due) return;
    due = Date.now() + ms;
    clearTimeout(timer);
    timer = setTimeout(send, ms);
  };
  // The next events, within what a browser sends for a page that goes away.
  const batch = () => {
    const ids = [];
    let bytes = 0;
    const now = Date.now();
    for (const [id, [text, tried, made]] of waiting) {
      const age = now - (tried || made);
      // A clock that was set counts as too late.
      if (age < 0 || age > (tried ? 12e4 : 864e5)) {
        forget(id);
        continue;
      }
      bytes += 3 * text.length;
      if (ids.length == most || (ids.length && bytes > 6e4)) break;
      ids.push(id);
    }
    return ids;
  };
  const body = (ids) =>
    `{"sent_at":${Date.now()},${key ? `"write_key":${JSON.stringify(key)},` : ""}"events":[${ids.map((id) => waiting.get(id)[0])}]}`;
  // Before it is tried: this page may end at any moment.
  const tried = (ids, when) =>
    ids.map((id) => waiting.has(id) && keep(id, [waiting.get(id)[0], when && (waiting.get(id)[1] || when), waiting.get(id)[2]]));

  const send = async () => {
    due = Infinity;
    if (busy || nav.onLine === false) return;
    const ids = batch();
    if (!ids.length) return;
    busy = ids;
    const fresh = ids.filter((id) => !waiting.get(id)[1]);
    tried(ids, Date.now());
    let wait = 0;
    try {
      const answer = await fetch(endpoint, { method: "POST", body: body(ids), keepalive: true, credentials: "omit" });
      const { status } = answer;
      if (status == 429 || status == 408 || status > 499) {
        // Too many requests: that none of them was taken is certain.
        if (status == 429) tried(fresh, 0);
        wait = 1e3 * answer.headers.get("retry-after") || 1;
      } else {
        failures = 0;
        // One bad event must not cost the others.
        const whole = answer.ok || ids.length == 1 || (status != 400 && status != 413);
        most = whole ? 50 : 1;
        if (!answer.ok) warn(status, await answer.text());
        if (whole) ids.map(forget);
      }
    } catch {
      wait = 1;
    }
    busy = 0;
    if (wait) wait = Math.max(wait, Math.min(6e4, 500 * 2 ** ++failures) * (0.5 + Math.random()));
    soon(wait);
  };

  const uuid = () =>
    "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (c) =>
      (c ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (c / 4)))).toString(16));
  const track = (type, payload) => {
    try {
      const [id, timestamp] = [uuid(), Date.now()];
      // As it is now: whoever goes on with the object does not change what happened.
      const text = JSON.stringify({ type, id, timestamp, payload });
      if (text.length > 2e4) return warn("too large:", type);
      if (waiting.size > 9999) return warn("too many:", type);
      keep(id, [text, 0, timestamp]);
      soon(300);
    } catch (why) {
      warn(type, why);
    }
  };

  let seen;
  const view = () => {
    const { origin, pathname, search } = location;
    if (seen == pathname + search) return;
    const from = seen == null && document.referrer;
    seen = pathname + search;
    // Of the address only what says where a visit came from: anything may stand in the rest.
    const utm = [...new URLSearchParams(search)].filter(([name]) => name.startsWith("utm_"));
    const query = utm.length ? "?" + new URLSearchParams(utm) : "";
    track("page_view", { path: pathname, url: origin + pathname + query, referrer: (from && new URL(from).origin) || undefined });
  };
  for (const name of ["pushState", "replaceState"]) {
    const was = history[name];
    history[name] = function () {
      was.apply(this, arguments);
      view();
    };
  }
  addEventListener("popstate", view);
  addEventListener("click", ({ target }) => {
    const named = target.closest && target.closest("[data-streamgauge]");
    const link = target.closest && target.closest("a[href]");
    if (named) track(named.getAttribute("data-streamgauge"), { ...named.dataset, streamgauge: undefined, path: location.pathname });
    else if (link && option("outbound") != null && link.host && link.host != location.host) track("outbound_click", { host: link.host, path: location.pathname });
  }, true);

  const leave = () => {
    if (document.visibilityState != "hidden") return soon(0);
    const ids = batch().filter((id) => !(busy || []).includes(id));
    if (ids.length && nav.sendBeacon(endpoint, body(ids))) tried(ids, Date.now());
  };
  document.addEventListener("visibilitychange", leave);
  addEventListener("pagehide", leave);
  addEventListener("online", () => soon(0));

  window.streamgauge = track;
  early.forEach((call) => track(...call));
  if (option("manual") == null) document.prerendering ? document.addEventListener("prerenderingchange", view) : view();
  adopt();
  setInterval(adopt, 3e4);
})();
