use super::*;
use crate::clock;
use crate::counter::default_specs;
use crate::query::fake::{Fake, row};
use crate::telemetry::Role;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::Value;
use std::sync::atomic::Ordering;
use tokio::time::timeout;

/// Page views in windows of 10 s.
const PAGES: Place = (0, 0);
const SOON: Duration = Duration::from_secs(20);

fn hub(store: &Arc<Fake>) -> Arc<Hub> {
    let counters = Arc::new(Counters::new(default_specs()).unwrap());
    let metrics = Arc::new(Metrics::new().unwrap());
    let (store, readiness) = (Arc::clone(store) as Arc<dyn CounterStore>, Arc::new(Readiness::new(&Role::ALL)));
    let mut hub = Hub::new(store, counters, "t".to_owned(), metrics, readiness, Duration::from_secs(2));
    hub.interval = Duration::from_millis(30);
    Arc::new(hub)
}

/// A store with one partition, and three views of a page in the window before this one.
fn store() -> (Arc<Fake>, i64) {
    let (fake, now_ms) = (Arc::new(Fake::default()), clock::now_ms());
    let start = now_ms.div_euclid(10_000) * 10 - 10;
    fake.know(default_specs().remove(0), 0);
    fake.put(0, row(1, (start + 10) * 1_000, now_ms));
    fake.fill("page_views", "10s", start, 0, &[("/a", 3)]);
    (fake, start)
}

fn start(hub: &Arc<Hub>) -> Shutdown {
    let (hub, shutdown) = (Arc::clone(hub), Shutdown::new());
    let until = shutdown.clone();
    tokio::spawn(async move { hub.run(&until).await });
    shutdown
}

/// The next event that is no heartbeat: its kind, its id and its data. `None` at the end.
async fn next(body: &mut Body) -> Option<(String, String, Value)> {
    loop {
        let frame = timeout(SOON, body.frame()).await.expect("an event in time")?;
        let bytes: Bytes = frame.unwrap().into_data().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap().to_owned();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
        if let Ok(data) = serde_json::from_str(&field("data: ")) {
            return Some((field("event: "), field("id: "), data));
        }
    }
}

/// The next event of that kind.
async fn until(body: &mut Body, kind: &str, fits: impl Fn(&Value) -> bool) -> (String, Value) {
    loop {
        let (seen, id, data) = next(body).await.expect("the stream goes on");
        if seen == kind && fits(&data) {
            return (id, data);
        }
    }
}

#[tokio::test]
async fn a_reader_gets_everything_and_then_what_changes() {
    let (fake, window) = store();
    let hub = hub(&fake);
    let _running = start(&hub);
    let mut body = hub.read(PAGES, None);
    let (kind, _, all) = next(&mut body).await.unwrap();
    assert_eq!(kind, "snapshot");
    assert_eq!((&all["counter"], &all["window"]), (&"page_views".into(), &"10s".into()));
    assert!(all["buckets"].as_array().unwrap().len() >= 180);
    assert_eq!(all["keys"]["keys"][0]["key"], "/a");
    assert_eq!(all["status"]["partitions"][0]["partition"], 0);
    assert_eq!(
        (&all["status"]["stale_after"], &all["status"]["process"]["ingest"]["failed"]),
        (&20.0.into(), &0.into())
    );
    fake.fill("page_views", "10s", window, 0, &[("/a", 3), ("/b", 4)]);
    let (_, delta) = until(&mut body, "delta", |delta| delta.get("keys").is_some()).await;
    assert_eq!(delta["buckets"].as_array().unwrap().len(), 1, "{delta}");
    assert_eq!((&delta["buckets"][0]["start"], &delta["buckets"][0]["total"]), (&window.into(), &7.into()));
    assert_eq!(delta["keys"]["keys"][0]["key"], "/b");
    assert!(delta.get("status").is_none(), "{delta}");
    fake.buckets.lock().unwrap().clear();
    let (_, delta) = until(&mut body, "delta", |delta| delta.get("keys").is_some()).await;
    assert_eq!((&delta["keys"], &delta["buckets"][0]["total"]), (&Value::Null, &0.into()));
}

#[tokio::test]
async fn a_key_is_compared_with_the_window_before() {
    let (fake, window) = store();
    fake.fill("page_views", "10s", window - 10, 0, &[("/a", 9), ("/gone", 1)]);
    let hub = hub(&fake);
    let _running = start(&hub);
    let (_, _, all) = next(&mut hub.read(PAGES, None)).await.unwrap();
    let first = &all["keys"]["keys"][0];
    assert_eq!((&first["count"], &first["previous"]), (&3.into(), &9.into()));
    assert_eq!((&all["keys"]["comparable"], &all["keys"]["distinct"]), (&true.into(), &1.into()));
}

#[tokio::test]
async fn many_readers_cause_as_many_reads_as_one() {
    let (fake, _) = store();
    let hub = hub(&fake);
    let mut readers: Vec<Body> = (0..500).map(|_| hub.read(PAGES, None)).collect();
    readers.push(hub.read((0, 1), None));
    assert_eq!(hub.metrics.live_streams.get(), 501);
    hub.round(false).await;
    for reader in &mut readers {
        assert_eq!(next(reader).await.unwrap().0, "snapshot");
    }
    let of_one_round = |calls: Vec<&'static str>, call| calls.into_iter().filter(|seen| *seen == call).count();
    let calls = std::mem::take(&mut *fake.calls.lock().unwrap());
    assert_eq!(calls[..2], ["partitions", "counters"], "watermarks are read before counts");
    // Two feeds: totals and keys of each. The minutes hold nothing, so their keys are not asked for.
    assert_eq!(of_one_round(calls.clone(), "read"), 3, "{calls:?}");
    assert_eq!((of_one_round(calls.clone(), "partitions"), of_one_round(calls, "counters")), (1, 1));
    drop(readers);
    assert_eq!(hub.metrics.live_streams.get(), 0);
    hub.round(false).await;
    assert!(fake.calls.lock().unwrap().is_empty(), "nobody looks, and it is read all the same");
}

#[tokio::test]
async fn whoever_comes_back_is_told_what_he_missed_or_all_of_it() {
    let (fake, window) = store();
    let hub = hub(&fake);
    let mut body = hub.read(PAGES, None);
    hub.round(false).await;
    let (_, id, _) = next(&mut body).await.unwrap();
    fake.fill("page_views", "10s", window, 0, &[("/a", 4)]);
    hub.round(false).await;
    let (kind, _, missed) = next(&mut hub.read(PAGES, Some(&id))).await.unwrap();
    assert_eq!((kind.as_str(), &missed["buckets"][0]["total"]), ("delta", &4.into()));
    for unknown in ["", "0-1", "x", &format!("{id}9"), &format!("-{id}")] {
        assert_eq!(next(&mut hub.read(PAGES, Some(unknown))).await.unwrap().0, "snapshot", "{unknown}");
    }
}

#[tokio::test]
async fn a_slow_reader_gets_a_snapshot_and_holds_nobody_up() {
    let (fake, window) = store();
    let hub = hub(&fake);
    let (mut slow, mut quick) = (hub.read(PAGES, None), hub.read(PAGES, None));
    hub.round(false).await;
    for reader in [&mut slow, &mut quick] {
        assert_eq!(next(reader).await.unwrap().0, "snapshot");
    }
    for count in 1..=100 {
        fake.fill("page_views", "10s", window, 0, &[("/a", count)]);
        hub.round(false).await;
        let (kind, _, delta) = next(&mut quick).await.unwrap();
        assert_eq!((kind.as_str(), &delta["buckets"][0]["total"]), ("delta", &count.into()));
    }
    assert_eq!(hub.metrics.live_slow_readers_total.get(), 0);
    let (kind, _, all) = next(&mut slow).await.unwrap();
    let newest = all["buckets"].as_array().unwrap().iter().find(|bucket| bucket["start"] == window).unwrap();
    assert_eq!((kind.as_str(), &newest["total"]), ("snapshot", &100.into()));
    assert_eq!(hub.metrics.live_slow_readers_total.get(), 1);
    fake.fill("page_views", "10s", window, 0, &[("/a", 101)]);
    hub.round(false).await;
    assert_eq!(next(&mut slow).await.unwrap().0, "delta");
}

#[tokio::test]
async fn a_store_that_is_away_is_said_to_be_until_it_is_back() {
    let (fake, _) = store();
    fake.away.store(true, Ordering::Relaxed);
    let hub = hub(&fake);
    let _running = start(&hub);
    let mut body = hub.read(PAGES, None);
    let (kind, _, trouble) = next(&mut body).await.unwrap();
    assert_eq!((kind.as_str(), &trouble["error"]), ("trouble", &"it is away".into()));
    fake.away.store(false, Ordering::Relaxed);
    until(&mut body, "snapshot", |_| true).await;
    fake.away.store(true, Ordering::Relaxed);
    until(&mut body, "trouble", |_| true).await;
    let mut late = hub.read(PAGES, None);
    assert_eq!(next(&mut late).await.unwrap().0, "snapshot");
    assert_eq!(next(&mut late).await.unwrap().0, "trouble");
    fake.away.store(false, Ordering::Relaxed);
    until(&mut body, "delta", |_| true).await;
}

/// A hub that waits so long for a store, and one reader each of clicks, which cannot be read, and of pages.
async fn half_stuck(fake: &Arc<Fake>, patience: Duration) -> (Shutdown, Body, Body) {
    *fake.stuck.lock().unwrap() = Some("clicks");
    let mut hub = hub(fake);
    Arc::get_mut(&mut hub).unwrap().patience = patience;
    let (stuck, mut quick) = (hub.read((1, 0), None), hub.read(PAGES, None));
    let running = start(&hub);
    assert_eq!(next(&mut quick).await.unwrap().0, "snapshot");
    (running, stuck, quick)
}

#[tokio::test]
async fn while_one_is_being_read_the_others_go_on() {
    let (fake, window) = store();
    let (_running, _stuck, mut quick) = half_stuck(&fake, 10 * SOON).await;
    for count in 4..8 {
        fake.fill("page_views", "10s", window, 0, &[("/a", count)]);
        let seen = until(&mut quick, "delta", |delta| delta["buckets"][0]["total"] == count);
        timeout(SOON, seen).await.expect("the others go on");
    }
    let reads = fake.calls.lock().unwrap().iter().filter(|call| **call == "read").count();
    let rounds = fake.calls.lock().unwrap().iter().filter(|call| **call == "counters").count();
    assert!(reads <= 2 * rounds + 1, "the one that is being read was asked for again: {reads} in {rounds} rounds");
}

#[tokio::test]
async fn one_that_cannot_be_read_in_time_is_in_trouble_alone_until_it_can() {
    let (fake, window) = store();
    let (_running, mut stuck, mut quick) = half_stuck(&fake, Duration::from_millis(50)).await;
    let (_, trouble) = until(&mut stuck, "trouble", |_| true).await;
    assert_eq!(trouble["error"], "the store did not answer within 50ms");
    fake.fill("page_views", "10s", window, 0, &[("/a", 9)]);
    until(&mut quick, "delta", |delta| delta["buckets"][0]["total"] == 9).await;
    *fake.stuck.lock().unwrap() = None;
    until(&mut stuck, "snapshot", |all| all["counter"] == "clicks").await;
}

#[tokio::test]
async fn the_shutdown_ends_every_stream() {
    let (fake, _) = store();
    let hub = hub(&fake);
    let running = start(&hub);
    let mut body = hub.read(PAGES, None);
    next(&mut body).await.unwrap();
    running.begin();
    let ended = async { while next(&mut body).await.is_some() {} };
    timeout(SOON, ended).await.expect("the stream ends");
    let mut late = hub.read(PAGES, None);
    assert!(timeout(SOON, next(&mut late)).await.expect("it ends").is_none(), "a late reader holds up the drain");
}
