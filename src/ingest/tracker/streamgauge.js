// The tracker: what a page loads to send events. docs/browser.md says what it does; this says why it does it so.
//
//   <script async src="https://events.example.com/streamgauge.js" data-key="…"></script>
//
// `scripts/tracker.sh` makes streamgauge.min.js of it, which is what is served: 2,048 bytes at most, compressed. So
// there are few checks of what cannot happen; what throws all the same ends in `safe`, never in the page.
//
// Each event counts once because it keeps its id, and is sent again only for as long as the server can tell that it
// is the same one. An event is in one of two states: new, or tried, which means that it may have arrived. A tried one
// is given up after two minutes; a new one waits for up to a day.
(() => {
  const warn = (why) => {
    // Pages put functions of their own into its place, which look at what they are given.
    try {
      console.warn("streamgauge:", why);
    } catch {}
  };
  const safe = (work) => (...given) => {
    try {
      return work(...given);
    } catch (why) {
      warn(why);
    }
  };
  safe(() => {
    const stub = window.streamgauge;
    // Somebody was here before: a page may have two copies of this.
    if (stub?.loaded) return;
    const nav = navigator;
    // Of a module, or of what was put into the page later, nobody says which element it is.
    const script = document.currentScript || document.querySelector('[src*="/streamgauge.js"]');
    const { key, endpoint, dnt, manual } = script.dataset;
    const url = new URL(endpoint || "/events", script.src || location).href;
    const prefix = "streamgauge:" + (key || url) + ":";

    // Storage may be blocked, so that to touch it throws; it may be full, or hold anything.
    const stored = (work) => {
      try {
        work(localStorage);
        return 1;
      } catch {}
    };
    const erase = (name) => stored((all) => all.removeItem(name));
    const each = (work) => stored((all) => Object.keys(all).map((name) => name.startsWith(prefix) && work(name, all[name])));

    if (nav.globalPrivacyControl || (dnt != null && nav.doNotTrack == 1)) {
      window.streamgauge = () => {};
      each(erase);
      return;
    }

    // By this clock events are made and sent, so that the server can tell how wrong it is; nobody sets it while the page
    // is there. The years are those that the server takes: what matters is the difference.
    const zero = Math.max(1e12, Date.now() % 4e12) - performance.now();
    const now = () => Math.round(zero + performance.now());
    const since = (time) => Math.abs(Date.now() - time);

    // Events that wait, by the name of their item: [name, event, when it was first tried or 0, characters].
    const waiting = new Map();
    let weight = 0;
    let busy, timer, seen;
    let gate = 0;
    let failures = 0;

    const put = (entry) => {
      const [name, , , size] = entry;
      if (!waiting.has(name)) weight += size;
      waiting.set(name, entry);
      // One item for each event: pages of the same site write at the same time, and must not undo each other's work.
      // They hold 200 kB at most, which leaves room for what the page itself keeps there. What was stored as new and
      // cannot be stored as tried would be taken for new tomorrow, so it is erased.
      entry.kept = (entry.kept || weight < 2e5) && stored((all) => all.setItem(name, JSON.stringify(entry)));
      entry.kept || erase(name);
    };
    const forget = ([name, , , size]) => {
      if (waiting.delete(name)) weight -= size;
      erase(name);
    };
    const mark = (entries, tried) =>
      entries.map((entry) => {
        entry[2] = tried && (entry[2] || tried);
        put(entry);
      });
    // Takes over what other pages left behind. One of them may be alive, and send it too: the server tells that it is the
    // same, and whoever comes later sees that it is gone.
    const adopt = () => {
      each((name, item) => {
        waiting.has(name) ||
          stored(() => {
            const entry = JSON.parse(item);
            const [, event, tried] = entry;
            if (since(tried || event.timestamp) < 5e3) return;
            // A clock that was set back would keep it for ever.
            event.timestamp = Math.min(event.timestamp, now());
            entry.kept = 1;
            put(entry);
          }) ||
          erase(name);
      });
      soon(0);
    };

    // A beacon, and a request that outlives its page, may have 64 KiB; a character becomes three bytes at most.
    const batch = (isNew) => {
      const entries = [];
      let bytes = 0;
      for (const entry of waiting.values()) {
        // This page may have slept for a day while another one sent it (it is gone), or tried to.
        entry.kept && stored((all) => (entry[2] = JSON.parse(all[entry[0]] || "[0,0,1]")[2]));
        const [, event, tried, size] = entry;
        // The clock of the page stands still while the machine sleeps, and the other one may be set: for what may have
        // arrived, either is a reason not to be sure.
        if (tried ? since(tried) > 12e4 : now() - event.timestamp > 864e5) forget(entry);
        else if (!isNew || !tried) {
          bytes += 3 * size;
          // While it fails, one event finds out whether it goes on: if it does not for minutes, only that one is lost.
          if (entries[failures ? 0 : 99] || (entries[0] && bytes > 6e4)) break;
          entries.push(entry);
        }
      }
      return entries;
    };
    const body = (entries) => JSON.stringify({ sent_at: now(), write_key: key, events: entries.map((entry) => entry[1]) });

    const soon = (ms) => {
      timer = timer || setTimeout(send, Math.max(ms, gate - now()));
    };
    const send = async () => {
      timer = 0;
      if (busy) return;
      if (now() < gate) return soon(0);
      const entries = batch();
      if (!entries[0]) return;
      const fresh = entries.filter((entry) => !entry[2]);
      const { onLine } = nav;
      let wait = 0;
      busy = 1;
      // Before it is: the page may end at any moment.
      mark(entries, Date.now());
      try {
        const answer = await fetch(url, {
          // Text without any header of ours is sent without asking first (a preflight), as a beacon is.
          method: "POST",
          body: body(entries),
          keepalive: true,
          credentials: "omit",
          signal: AbortSignal.timeout?.(3e4),
        });
        const { status } = answer;
        if (/408|429|5../.test(status)) {
          // Too many requests: it was not even read.
          if (status == 429) mark(fresh, 0);
          wait = 1e3 * answer.headers.get("retry-after") || 1;
        } else {
          // One event must not cost the others: they are sent one by one.
          failures = (entries[1] && /400|413/.test(status)) | 0;
          failures || entries.map(forget);
          const said = await answer.text();
          said.includes('"errors":[]') || warn(said);
        }
      } catch {
        wait = 1;
      }
      busy = 0;
      // It went nowhere. The browser says when there is a network; it was tried all the same, for it may be wrong.
      if (wait == 1 && !onLine && !nav.onLine) return mark(fresh, 0);
      if (wait) gate = now() + Math.min(864e5, wait + Math.min(6e4, 500 * 2 ** ++failures) * (0.5 + Math.random()));
      soon(0);
    };
    const track = safe((type, payload) => {
      let size = 0;
      const id = crypto.getRandomValues(new Uint32Array(4)).join("-");
      // As it is now: whoever goes on with the object does not change what happened. What has no end is not gone through.
      const text = JSON.stringify({ id, timestamp: now(), type: "" + type, payload }, (name, value) => {
        size += name.length + 1 + (typeof value == "string" && value.length);
        if (size > 2e4) throw "too large: " + type;
        return value;
      });
      if (text.length > 2e4 || weight > 2e7) throw "too large: " + type;
      put([prefix + id, JSON.parse(text), 0, 100 + text.length]);
      soon(300);
    });

    const view = () => {
      const { origin, pathname: path, search } = location;
      if (seen == path) return;
      const from = seen == null && document.referrer.split("/", 3).join("/");
      seen = path;
      // Of the address only what says where a visit came from: anything may stand in the rest.
      const utm = (search.match(/[?&]utm_[^&]*/g) || []).join("").replace(/^./, "?");
      track("page_view", { path, url: origin + path + utm, referrer: (from != origin && from) || undefined });
    };
    const click = ({ target, button }) => {
      const { host, pathname: path } = location;
      const named = target.closest("[data-streamgauge]");
      const link = target.closest("a[href]");
      if (button > 1) return;
      if (named) {
        const payload = { path };
        const { dataset } = named;
        // Its own attributes only: others may hold what is nobody's business.
        for (const name in dataset) if (/^streamgauge./.test(name)) payload[name[11].toLowerCase() + name.slice(12)] = dataset[name];
        track(dataset.streamgauge || "click", payload);
      } else if (link?.closest("[data-outbound]") && link.host && link.host != host)
        track("outbound_click", { path, target: link.host, url: link.origin + link.pathname });
    };
    const leave = () => {
      // What could not be sent is better left to the next page than tried in vain.
      if (now() < gate || !nav.onLine) return;
      for (let entries; (entries = batch(1))[0] && nav.sendBeacon(url, body(entries)); ) mark(entries, Date.now());
    };

    // Capturing, the window sees what happens to the document, and whatever is stopped further in.
    const on = (name, work) => addEventListener(name, safe(work), true);
    window.streamgauge = track;
    track.loaded = 1;
    if (manual == null) {
      for (const name of ["pushState", "replaceState"]) {
        const was = history[name];
        history[name] = function () {
          was.apply(this, arguments);
          view();
        };
      }
      on("popstate", view);
      // Back to a page that was kept as it was.
      on("pageshow", ({ persisted }) => persisted && ((seen = ""), view()));
      document.prerendering ? on("prerenderingchange", view) : view();
    }
    stub?.q?.map((call) => track(...call));
    on("click", click);
    on("auxclick", click);
    on("visibilitychange", () => document.hidden && leave());
    on("pagehide", leave);
    on("online", () => soon(0));
    adopt();
    setInterval(adopt, 1e4);
  })();
})();
