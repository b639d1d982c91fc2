//! What is added to events that come from browsers, and what of their visitors is found nowhere: not in the topic, not in
//! the log lines, and no longer than it may be in the store.

use std::collections::BTreeMap;

use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use streamgauge::telemetry::Role;

use crate::support::app::{Binary, Running};
use crate::support::doors::{Doors, Reply, SOON};
use crate::support::oracle::records_of;
use crate::support::{self, Redis, Settings, eventually, now_ms, unique};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                      Version/26.0 Mobile/15E148 Safari/604.1";
const PAGE: (&str, &str) = ("origin", "https://shop.example");

const SITES: &str = r#"
[[sites]]
name = "shop"
write_keys = ["shop-key"]
allowed_origins = ["*"]

[[sites]]
name = "other"
write_keys = ["other-key"]
allowed_origins = ["*"]

[[sites]]
name = "quiet"
write_keys = ["quiet-key"]
allowed_origins = ["*"]
enrich = { visitor = false, user_agent = false, ip = "truncated", bots = "refuse" }
"#;

/// A client of one process.
struct Page<'d>(&'d Doors);

impl Page<'_> {
    async fn send(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        let request = self.0.http().post(self.0.ingest_url(path)).body(body.to_string());
        self.0.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// Posts an event with this id for the shop.
    async fn view(&self, id: &str, headers: &[(&str, &str)]) {
        let headers = [&[("x-write-key", "shop-key")], headers].concat();
        let event = json!({"type": "page_view", "id": id, "payload": {"path": "/"}});
        assert_eq!(self.send("/events", &headers, &event).await.expect(202)["accepted"], 1, "{id}");
    }

    /// The context that an event of a browser would have.
    async fn rehearsed(&self, key: &str) -> Value {
        let headers = [PAGE, ("user-agent", FIREFOX), ("x-write-key", key)];
        let answer = self.send("/events?dry_run=1", &headers, &json!({"type": "page_view"})).await.expect(200);
        answer["events"][0]["record"]["context"].clone()
    }

    /// Waits until the process knows the salt of the day.
    async fn until_visitors(&self) {
        eventually(SOON, "there is a salt", async || match self.rehearsed("shop-key").await {
            context if context["visitor"].is_string() => Ok(()),
            context => Err(context),
        })
        .await;
    }
}

/// The contexts of records, by the ids of their events.
fn contexts(records: impl IntoIterator<Item = Option<Vec<u8>>>) -> BTreeMap<String, Value> {
    let event = |value: Option<Vec<u8>>| serde_json::from_slice::<Value>(&value.unwrap()).unwrap();
    let events = records.into_iter().map(event);
    events.map(|event| (event["event_id"].as_str().unwrap().to_owned(), event["context"].clone())).collect()
}

async fn metric(doors: &Doors, name: &str) -> u64 {
    let metrics = doors.admin("/metrics").await.text();
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

fn is_in(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_agree_on_visitors_and_nothing_of_them_is_kept() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let (topic, prefix) = (kafka.topic(&unique("enrich"), 2).await, unique("enrich"));
    let settings = Settings::kafka(kafka, redis, &topic, &prefix).with_sites(SITES);
    // Who is at the other end is 127.0.0.1: only the third one believes what it says of others.
    let first = Binary::prepare(&[], "ingest", &settings);
    first.spawn_with(&[("STREAMGAUGE_LOG", "trace,rdkafka=info,hyper=info")]);
    first.until_ready().await;
    let second = Running::start_roles(&settings, &[Role::Ingest]).await;
    let behind = settings.clone().with("ingest.trusted_proxies", vec!["127.0.0.1"]);
    let third = Running::start_roles(&behind, &[Role::Ingest]).await;
    second.until_ready().await;
    third.until_ready().await;
    let (one, two, proxied) = (Page(&first), Page(&second), Page(&third));
    for page in [&one, &two, &proxied] {
        page.until_visitors().await;
    }
    send_all(&one, &two, &proxied).await;
    let records = kafka.read(&topic).await;
    let values = records.iter().map(|record| record.value.clone());
    let context = contexts(values);
    let visitor =
        |id: &str| context[id]["visitor"].as_str().unwrap_or_else(|| panic!("{id}: {}", context[id])).to_owned();
    assert_eq!(
        context["one"],
        json!({
            "site": "shop", "browser": "Firefox", "os": "Linux", "device": "desktop", "visitor": visitor("one"),
        })
    );
    for same in ["two", "forged", "forged-too"] {
        assert_eq!(visitor(same), visitor("one"), "{same}");
    }
    assert_eq!(visitor("proxied-6"), visitor("proxied-6-too"), "a /64 is one visitor");
    let mut all = ["one", "proxied", "proxied-6", "phone", "other"].map(visitor);
    all.sort();
    assert!(all.windows(2).all(|two| two[0] != two[1]), "{all:?}");
    let phone = &context["phone"];
    assert_eq!(
        [&phone["browser"], &phone["os"], &phone["device"], &phone["language"]],
        ["Safari", "iOS", "mobile", "fr"]
    );
    assert_eq!(context["service"], json!({"site": "shop"}));
    assert_eq!(context["quiet"], json!({"site": "quiet", "ip": "203.0.113.0"}));

    let salt = kept_salt(redis, &prefix).await;
    let hex = salt.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let log = first.output();
    assert!(log.contains("ingest listens"), "it says something: {log}");
    let texts = [b"127.0.0.1", &b"203.0.113.7"[..], b"2001:db8", b"Mozilla", b"Gecko", &salt, hex.as_bytes()];
    for record in &records {
        let headers = record.headers.iter().map(|(_, value)| value);
        for part in record.value.iter().chain(&record.key).chain(headers) {
            assert!(!texts.iter().any(|text| is_in(part, text)), "{}", String::from_utf8_lossy(part));
        }
    }
    assert!(!is_in(log.as_bytes(), &salt) && !log.contains(&hex) && !log.contains("Gecko"), "{log}");
    second.stop().await;
    third.stop().await;
}

/// Events of some visitors, of a service, and of some who pretend to be elsewhere.
async fn send_all(one: &Page<'_>, two: &Page<'_>, proxied: &Page<'_>) {
    let browser = [PAGE, ("user-agent", FIREFOX)];
    let forged = |name, value| [PAGE, ("user-agent", FIREFOX), (name, value)];
    one.view("one", &browser).await;
    two.view("two", &browser).await;
    two.view("forged", &forged("x-forwarded-for", "203.0.113.7")).await;
    one.view("forged-too", &forged("forwarded", "for=203.0.113.7")).await;
    proxied.view("proxied", &forged("x-forwarded-for", "203.0.113.7")).await;
    proxied.view("proxied-6", &forged("x-forwarded-for", "2001:db8:1:2:3:4:5:6")).await;
    proxied.view("proxied-6-too", &forged("x-forwarded-for", "2001:db8:1:2::1")).await;
    one.view("phone", &[PAGE, ("user-agent", IPHONE), ("accept-language", "fr-CH, fr;q=0.9")]).await;
    one.view("service", &[("user-agent", "okhttp/4.12.0")]).await;
    let quiet = [("x-write-key", "quiet-key"), PAGE, ("user-agent", FIREFOX), ("x-forwarded-for", "203.0.113.7")];
    assert_eq!(proxied.send("/events", &quiet, &json!({"type": "page_view", "id": "quiet"})).await.status, 202);
    let other = [("x-write-key", "other-key"), PAGE, ("user-agent", FIREFOX)];
    assert_eq!(one.send("/events", &other, &json!({"type": "page_view", "id": "other"})).await.status, 202);
}

/// The only salt in Redis, which expires in time.
async fn kept_salt(redis: &Redis, prefix: &str) -> Vec<u8> {
    let mut connection = redis.connection().await;
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(format!("{prefix}:{{0}}:salt:*")).query_async(&mut connection).await.unwrap();
    // An hour before midnight there is tomorrow's as well.
    assert!((1..=2).contains(&keys.len()), "{keys:?}");
    let left: i64 = redis::cmd("TTL").arg(&keys[0]).query_async(&mut connection).await.unwrap();
    assert!((86_400 - 60..=49 * 3_600).contains(&left), "{left} s");
    let salt: Vec<u8> = redis::cmd("HGET").arg(&keys[0]).arg("salt").query_async(&mut connection).await.unwrap();
    assert_eq!(salt.len(), 16);
    salt
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_is_away_events_are_taken_without_a_visitor() {
    let (kafka, redis) = (support::kafka().await, Redis::start().await);
    redis.kill();
    let topic = kafka.topic(&unique("enrich-away"), 1).await;
    let settings = Settings::kafka(kafka, &redis, &topic, &unique("enrich-away")).with_sites(SITES);
    let gauge = Running::start_roles(&settings, &[Role::Ingest]).await;
    gauge.until_ready().await;
    let page = Page(&gauge);
    page.view("without", &[PAGE, ("user-agent", FIREFOX)]).await;
    assert_eq!(metric(&gauge, "streamgauge_ingest_visitor_missing_total").await, 1);
    page.view("service", &[]).await;
    assert_eq!(metric(&gauge, "streamgauge_ingest_visitor_missing_total").await, 1, "it has none anyway");
    redis.restart().await;
    page.until_visitors().await;
    page.view("with", &[PAGE, ("user-agent", FIREFOX)]).await;
    let context = contexts(kafka.read(&topic).await.into_iter().map(|record| record.value));
    assert_eq!(context["without"]["browser"], "Firefox");
    assert!(context["without"].get("visitor").is_none() && context["with"]["visitor"].is_string());
    assert_eq!(metric(&gauge, "streamgauge_ingest_visitor_missing_total").await, 1);
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_file_keeps_the_salt_over_a_restart_and_counters_see_what_was_added() {
    let dir = tempfile::tempdir().unwrap();
    let counters = r#"
        [[counters]]
        name = "browsers"
        by = ["context.browser", "context.bot"]
        windows = [{ size = "1h", keep = "1d" }]
    "#;
    let settings = Settings::embedded(dir.path()).with_sites(SITES).counting(counters);
    let gauge = Running::start(&settings).await;
    let page = Page(&gauge);
    page.until_visitors().await;
    let visitor = page.rehearsed("shop-key").await["visitor"].clone();
    assert_eq!(page.rehearsed("quiet-key").await, json!({"site": "quiet", "ip": "127.0.0.0"}));
    let headless = FIREFOX.replace("Firefox/", "HeadlessChrome/");
    page.view("person", &[PAGE, ("user-agent", FIREFOX)]).await;
    page.view("bot", &[("user-agent", &headless)]).await;
    let refused = [("x-write-key", "quiet-key"), PAGE, ("user-agent", &headless)];
    let refused = page.send("/events", &refused, &json!({"type": "page_view"})).await.expect(403);
    assert!(refused["error"].as_str().unwrap().contains("bots"), "{refused}");
    assert_eq!(metric(&gauge, "streamgauge_ingest_refused_requests_total{reason=\"bot\"}").await, 1);
    gauge.until_consumed(2).await;
    let hour = now_ms() / 3_600_000 * 3_600;
    let counted = gauge.counter("browsers", &format!("from={}", hour - 3_600)).await;
    let buckets = counted["buckets"].as_array().unwrap().iter();
    let mut keys: Vec<_> =
        buckets.flat_map(|bucket| bucket["keys"].as_array().unwrap()).map(|key| &key["key"]).collect();
    keys.sort_by_key(ToString::to_string);
    assert_eq!(keys, [&json!(r#"["Firefox",""]"#), &json!(r#"["HeadlessChrome","true"]"#)], "{counted}");
    gauge.stop().await;

    let again = Running::start(&settings).await;
    Page(&again).until_visitors().await;
    assert_eq!(Page(&again).rehearsed("shop-key").await["visitor"], visitor, "it is the same day");
    again.stop().await;
}

/// What nobody sends by mistake: it is taken, what is added is bounded, and nothing else of it is looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_heads_and_addresses_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path()).with("ingest.enrich.visitor", false);
    let gauge = Running::start(&settings).await;
    let long = format!("Mozilla/5.0 ({}) Firefox/1 Googlebot/2.1", "x".repeat(10_000));
    let utm = format!("https://shop.example/?utm_term=%&utm_campaign=%00%1f%zz&utm_source={}", "ü".repeat(4_096));
    for (id, agent, url, referrer, expected) in [
        ("long", long.as_bytes(), "https://shop.example/", "", json!({"browser": "other"})),
        ("bytes", b"Mozilla/5.0 \xff\xfe\t Firefox/1", "%", "%", json!({"browser": "Firefox"})),
        ("utm", b"", &*utm, "", json!({"utm_source": "ü".repeat(64), "utm_term": "%", "utm_campaign": "%zz"})),
        ("script", b"", "javascript:alert(1)?utm_source=a", "javascript:alert(1)", json!({"utm_source": "a"})),
        ("idn", b"", "/", "https://bücher.example:443/a", json!({"referrer": "xn--bcher-kva.example"})),
        ("puny", b"", "/", "https://XN--bcher-kva.example/", json!({"referrer": "xn--bcher-kva.example"})),
        ("own", b"", "https://SHOP.example/a", "https://shop.example/b", json!({})),
        ("quotes", b"", "/?utm_source=%22%7D%2C%22site%22%3A%22x", "", json!({"utm_source": "\"},\"site\":\"x"})),
        ("user", b"", "/", "https://shop.example@evil.example/", json!({"referrer": "evil.example"})),
    ] {
        let event = json!([{"type": "view", "id": id, "payload": {"url": url, "referrer": referrer}}]);
        let request = gauge.events("application/json", event.to_string()).header(PAGE.0, PAGE.1);
        let is_plain = agent.is_empty();
        let agent = if is_plain { FIREFOX.as_bytes() } else { agent };
        let request = request.header("user-agent", HeaderValue::from_bytes(agent).unwrap());
        assert_eq!(gauge.send(request).await.expect(202)["accepted"], 1, "{id}");
        let stored =
            contexts(records_of(settings.text_of("embedded.path").as_ref()).into_iter().map(|record| record.value));
        let mut context = stored[id].clone();
        let known = |name: &str| ["os", "device"].contains(&name) || is_plain && name == "browser";
        context.as_object_mut().unwrap().retain(|name, _| !known(name));
        assert_eq!(context, expected, "{id}");
    }
    gauge.stop().await;
}
