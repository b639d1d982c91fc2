//! Counters that tell more than how many: sums and distinct counts, through kills, late events and another store.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::app::{Binary, Running, finish};
use crate::support::doors::Doors;
use crate::support::{self, Settings, now_ms, unique};

const COUNTERS: &str = r#"
[[counters]]
name = "revenue"
kind = "sum"
of = "payload.amount"
factor = 100
event = "purchase"
by = ["payload.shop"]
windows = [{ size = "10s", keep = "1h" }, { size = "1h", keep = "1d" }]

[[counters]]
name = "buyers"
kind = "distinct"
of = "user_id"
event = "purchase"
except = ["payload.shop=closed"]
windows = [{ size = "10s", keep = "1h" }, { size = "1h", keep = "1d" }]

[[counters]]
name = "buyers_by_shop"
kind = "distinct"
of = "user_id"
event = "purchase"
by = ["payload.shop"]
windows = [{ size = "1h", keep = "1d" }]
"#;

/// What the tests sell: amounts in cents, as numbers and as texts, some given back; some late by minutes.
struct Sales {
    sent: u64,
    begun_ms: i64,
    /// By shop: cents, the smallest, the largest, how many, and who bought.
    shops: BTreeMap<&'static str, (i64, i64, i64, u64, BTreeSet<String>)>,
}

impl Sales {
    fn new() -> Sales {
        // All in one hour, and none in a window that is not yet.
        let begun_ms = now_ms() / 3_600_000 * 3_600_000;
        Sales { sent: 0, begun_ms, shops: BTreeMap::new() }
    }

    fn some(&mut self, events: u64) -> Value {
        let made: Vec<Value> = (0..events).map(|_| self.one()).collect();
        json!(made)
    }

    fn one(&mut self) -> Value {
        let n = self.sent;
        self.sent += 1;
        let shop = ["north", "south", "closed"][(n * n % 7 % 3) as usize];
        let cents = (n * 7_919 % 30_000) as i64 - 2_000;
        let user = format!("user-{}", n * 31 % 700);
        let amount = format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100);
        let amount = if n.is_multiple_of(2) { json!(amount) } else { serde_json::from_str(&amount).unwrap() };
        let sums = self.shops.entry(shop).or_insert((0, i64::MAX, i64::MIN, 0, BTreeSet::new()));
        *sums = (sums.0 + cents, sums.1.min(cents), sums.2.max(cents), sums.3 + 1, std::mem::take(&mut sums.4));
        sums.4.insert(user.clone());
        let at = self.begun_ms + (n * 997 % 1_000) as i64;
        let payload = json!({"shop": shop, "amount": amount});
        json!({"type": "purchase", "id": format!("sale-{n}"), "user_id": user, "timestamp": at, "payload": payload})
    }

    /// Fails unless the API tells what was sold.
    async fn assert_in_api(&self, doors: &Doors) {
        let start = self.begun_ms / 1_000;
        let hour = format!("window=1h&from={start}&to={}&top=10", start + 1);
        let revenue = doors.counter("revenue", &hour).await;
        let bucket = &revenue["buckets"][0];
        assert_eq!(
            (&bucket["total"], &bucket["count"], &revenue["count"]),
            (&json!(self.sent), &json!(self.sent), &json!(self.sent))
        );
        let all: i64 = self.shops.values().map(|shop| shop.0).sum();
        assert_eq!((cents(&bucket["value"]), cents(&revenue["value"])), (all, all), "{revenue}");
        assert_eq!(bucket["keys"].as_array().unwrap().len(), self.shops.len());
        assert!(bucket["keys"].as_array().unwrap().is_sorted_by_key(|key| -cents(&key["value"])), "{bucket}");
        for key in bucket["keys"].as_array().unwrap() {
            let (sum, least, most, count, _) = &self.shops[key["key"].as_str().unwrap()];
            let found = (cents(&key["value"]), cents(&key["min"]), cents(&key["max"]), key["count"].as_u64().unwrap());
            assert_eq!(found, (*sum, *least, *most, *count), "{key}");
            let mean = key["mean"].as_f64().unwrap() * 100.0;
            assert!((mean - *sum as f64 / *count as f64).abs() < 1e-6, "{key}");
        }
        let open = |shop: &&str| *shop != "closed";
        let buyers: BTreeSet<_> = self.shops.iter().filter(|(shop, _)| open(shop)).flat_map(|(_, of)| &of.4).collect();
        for window in ["10s", "1h"] {
            let asked = format!("window={window}&from={start}&to={}", start + 2);
            near(&doors.counter("buyers", &asked).await["value"], buyers.len());
        }
        for key in doors.counter("buyers_by_shop", &hour).await["buckets"][0]["keys"].as_array().unwrap() {
            near(&key["value"], self.shops[key["key"].as_str().unwrap()].4.len());
        }
    }
}

fn cents(value: &Value) -> i64 {
    (value.as_f64().unwrap_or_else(|| panic!("{value} is no number")) * 100.0).round() as i64
}

/// Told within 1.5 percent.
fn near(value: &Value, expected: usize) {
    let told = value.as_u64().unwrap_or_else(|| panic!("{value} is no whole number"));
    assert!(told.abs_diff(expected as u64) as f64 <= expected as f64 * 0.015, "{told} instead of {expected}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_and_repeats_change_no_sum_and_no_set() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let settings = Settings::kafka(kafka, redis, &unique("measured"), &unique("measured")).counting(COUNTERS);
    let settings = settings
        .with_property("session.timeout.ms", "3000")
        .with_property("heartbeat.interval.ms", "500")
        .with("store.redis.shards", 3);
    let binary = Binary::start("run", &settings).await;
    binary.until_ready().await;
    let mut sales = Sales::new();
    for _ in 0..3 {
        let some = sales.some(700);
        binary.post(&some).await;
        // Once more, as a client does whose answer was lost.
        binary.post(&some).await;
        binary.kill();
        binary.restart().await;
        binary.until_ready().await;
    }
    // Nothing to measure: it counts for nobody, and does no harm.
    let odd = json!([
        {"type": "purchase", "payload": {"amount": "12,50"}},
        {"type": "purchase", "payload": {"amount": {"cents": 5}, "shop": "north"}},
        {"type": "purchase", "payload": {"shop": "north"}, "user_id": null},
    ]);
    binary.post(&odd).await;
    binary.until_consumed(2 * sales.sent + 3).await;
    sales.assert_in_api(&binary).await;
    assert_eq!(binary.metric(r#"streamgauge_unmeasured_events_total{counter="revenue"}"#).await, 3.0);
    let verified = finish(&["verify"], &settings).await;
    assert_eq!(verified.code, 0, "{}", verified.output);
    binary.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_tells_the_same_and_verify_finds_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path()).counting(COUNTERS);
    let gauge = Running::start(&settings).await;
    let mut sales = Sales::new();
    for _ in 0..3 {
        gauge.post(&sales.some(500)).await;
    }
    gauge.until_consumed(sales.sent).await;
    sales.assert_in_api(&gauge).await;
    gauge.stop().await;
    let verified = finish(&["verify"], &settings).await;
    assert_eq!(verified.code, 0, "{}", verified.output);
    let file = rusqlite::Connection::open(dir.path().join("streamgauge.db")).unwrap();
    for (sql, told) in [
        ("UPDATE store_amount SET value = value + 1 WHERE keyed = 0", "sum"),
        ("UPDATE store_amount SET value = value - 1, max = max + (keyed = 1) ", "largest"),
        ("DELETE FROM store_distinct WHERE keyed = 0", "distinct"),
    ] {
        file.execute(sql, []).unwrap();
        let verified = finish(&["verify"], &settings).await;
        assert_eq!(verified.code, 1, "{}", verified.output);
        assert!(verified.output.contains(told), "{}", verified.output);
    }
}
