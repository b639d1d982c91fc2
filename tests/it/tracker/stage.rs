//! A page, an ingest, and the browser in between.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::door::Door;
use crate::support::app::Running;
use crate::support::browser::Browser;
use crate::support::doors::{SOON, sum};
use crate::support::oracle::records_of;
use crate::support::{Settings, eventually};

/// The names of the items that the tracker keeps, as a script.
const ITEMS: &str = "Object.keys(localStorage).filter((name) => name.startsWith('streamgauge:'))";
/// Where pages are, and where events go: two sites.
const SHOP: &str = "shop.localhost";
const EVENTS: &str = "127.0.0.1";

pub(super) struct Stage {
    pub(super) gauge: Running,
    pub(super) door: Door,
    pub(super) browser: Browser,
    dir: TempDir,
}

impl Stage {
    /// Anybody may send.
    pub(super) async fn new() -> Stage {
        Stage::with_sites("").await
    }

    /// With these `[[sites]]`.
    pub(super) async fn with_sites(sites: &str) -> Stage {
        let dir = tempfile::tempdir().expect("a folder");
        let settings = Settings::embedded(dir.path());
        let settings = if sites.is_empty() { settings } else { settings.with_sites(sites) };
        let gauge = Running::start(&settings).await;
        let door = Door::before(&gauge.ingest_url("")).await;
        Stage { gauge, door, browser: Browser::start().await, dir }
    }

    /// The tag that loads the tracker, with these attributes.
    pub(super) fn tag(&self, attributes: &str) -> String {
        format!("<script src=\"{}\" {attributes}></script>", self.door.url(EVENTS, "/streamgauge.js"))
    }

    /// Serves a page with the tracker.
    pub(super) fn page(&self, path: &str, attributes: &str, rest: &str) {
        self.door.page(path, &format!("<!doctype html><title>shop</title>{}{rest}", self.tag(attributes)));
    }

    /// The address of a page.
    pub(super) fn url(&self, path: &str) -> String {
        self.door.url(SHOP, path)
    }

    /// Opens a page, and waits for the tracker.
    pub(super) async fn visit(&mut self, path: &str) {
        let url = self.url(path);
        self.browser.open(&url).await;
        self.loaded().await;
    }

    /// Waits for the tracker on the page.
    pub(super) async fn loaded(&mut self) {
        self.browser.until("document.readyState === 'complete' && window.streamgauge?.loaded === 1").await;
    }

    /// Runs a script on the page.
    pub(super) async fn run(&mut self, script: &str) -> Value {
        self.browser.eval(script).await
    }

    /// The same events as the page would send, one of each of these types.
    pub(super) async fn send(&mut self, types: &[&str]) {
        self.run(&format!("{}.forEach((type) => streamgauge(type)), 0", json!(types))).await;
    }

    /// How many events the page keeps for later.
    pub(super) async fn kept(&mut self) -> u64 {
        self.run(&format!("{ITEMS}.length")).await.as_u64().expect("a number")
    }

    /// Waits until the page keeps so many events: none, when all have been answered.
    pub(super) async fn until_kept(&mut self, events: u64) {
        self.browser.until(&format!("{ITEMS}.length == {events}")).await;
    }

    /// Waits until so many of the kept events have been tried.
    pub(super) async fn until_tried(&mut self, events: u64) {
        let tried = format!("{ITEMS}.filter((name) => JSON.parse(localStorage[name])[2]).length == {events}");
        self.browser.until(&tried).await;
    }

    /// Lets the clock of each page, from its next load on, be set by `set_clock`. It stays set over pages and tabs.
    pub(super) async fn own_clock(&mut self) {
        let clock = "{ const real = Date.now; Date.now = () => real() + Number(localStorage.skew || 0); }";
        self.browser.before_pages(clock).await;
    }

    /// Sets the clock of the browser ahead.
    pub(super) async fn set_clock(&mut self, ahead_ms: i64) {
        self.run(&format!("localStorage.skew = {ahead_ms}, 0")).await;
    }

    /// Waits until so many requests with events have come.
    pub(super) async fn until_came(&self, requests: usize) {
        eventually(SOON, "requests come", async || {
            let came = self.door.came().len();
            if came >= requests { Ok(()) } else { Err(format!("{came} of {requests}")) }
        })
        .await;
    }

    /// Waits until these events are counted, by type; fails if there is one more, or if one was counted that is not in
    /// the log once or more often. Returns the events of the log, each id once.
    pub(super) async fn counted(&self, expected: &[(&str, u64)]) -> Vec<Value> {
        let all: u64 = expected.iter().map(|(_, events)| events).sum();
        let status = eventually(SOON, &format!("{all} events are counted"), async || {
            let status = self.gauge.status().await;
            let counted = sum(&status, "counted");
            assert!(counted <= all, "{counted} of {all} are counted: {:#?}", self.events());
            if counted == all { Ok(status) } else { Err(format!("{counted} are: {:#?}", self.events())) }
        })
        .await;
        assert_eq!(status["unaccounted"], 0);
        let mut by_type = BTreeMap::new();
        let answer = self.gauge.counter("events", "window=1h&from=-26h").await;
        for key in
            answer["buckets"].as_array().expect("buckets").iter().flat_map(|b| b["keys"].as_array().expect("keys"))
        {
            *by_type.entry(key["key"].as_str().expect("a type").to_owned()).or_insert(0) +=
                key["count"].as_u64().expect("a count");
        }
        let expected = expected.iter().map(|(event_type, events)| ((*event_type).to_owned(), *events));
        assert_eq!(by_type, expected.collect());
        let mut events = self.events();
        let mut seen = std::collections::BTreeSet::new();
        events.retain(|event| seen.insert(event["event_id"].to_string()));
        assert_eq!(events.len() as u64, all, "{events:#?}");
        events
    }

    /// The same, and none of them was sent more often than once.
    pub(super) async fn sent_once(&self, expected: &[(&str, u64)]) -> Vec<Value> {
        let events = self.counted(expected).await;
        assert_eq!(self.events().len(), events.len(), "{:#?}", self.events());
        events
    }

    /// All events of the log, in its order.
    pub(super) fn events(&self) -> Vec<Value> {
        let records = records_of(&self.dir.path().join("streamgauge.db"));
        records
            .iter()
            .map(|record| serde_json::from_slice(record.value.as_ref().expect("a value")).expect("JSON"))
            .collect()
    }

    /// Ends it; fails if a page threw an exception.
    pub(super) async fn end(self) {
        self.browser.assert_content();
        self.gauge.stop().await;
    }
}

/// What these events say at a field of their payload.
pub(super) fn payloads(events: &[Value], event_type: &str) -> Vec<Value> {
    events.iter().filter(|event| event["event_type"] == event_type).map(|event| event["payload"].clone()).collect()
}
