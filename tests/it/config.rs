//! Wrong configurations, through the real binary: it does not start, and says what to change and where.

use serde_json::json;

use crate::support::app::{Finished, Running, finish, finish_text};
use crate::support::{self, Settings, unique};

/// A file, and what the refusal has to name.
fn wrong() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        ("[store.redis]\nulr = \"redis://h\"", vec![":2:", "store.redis.ulr", "store.redis.url"]),
        ("shutdown_timout = \"1s\"", vec![":1:", "shutdown_timout", "shutdown_timeout"]),
        ("[ingset]\nlisten = \"127.0.0.1:1\"", vec![":1:", "ingset", "ingest"]),
        ("[pipeline]\nflush_interval = \"2 parsecs\"", vec![":2:", "pipeline.flush_interval", "2 parsecs"]),
        ("[pipeline]\nflush_interval = 2", vec![":2:", "pipeline.flush_interval", "2"]),
        ("[pipeline]\nflush_interval = \"1ms\"", vec![":2:", "pipeline.flush_interval", "50ms"]),
        ("[pipeline]\nworkers = -1", vec![":2:", "pipeline.workers", "-1"]),
        ("[log]\nkind = \"kafak\"", vec![":2:", "log.kind", "kafak", "kafka"]),
        ("[log.kafka]\nbrokers = \"\"", vec![":2:", "log.kafka.brokers"]),
        ("[log.kafka]\ntopic = \"no/topic\"", vec![":2:", "log.kafka.topic"]),
        ("[log.kafka.properties]\n\"enable.auto.commit\" = \"true\"", vec![":2:", "enable.auto.commit"]),
        ("[store]\nkind = \"mysql\"", vec![":2:", "store.kind", "mysql", "redis"]),
        ("[store.redis]\nurl = \"http://h\"", vec![":2:", "store.redis.url", "redis://"]),
        ("[store.redis]\nshards = 0", vec![":2:", "store.redis.shards", "0"]),
        ("[store.redis]\nprefix = \"a{b}\"", vec![":2:", "store.redis.prefix"]),
        ("[embedded]\nmax_bytes = \"many\"", vec![":2:", "embedded.max_bytes", "many"]),
        ("[admin]\nlisten = \"nowhere\"", vec![":2:", "admin.listen", "nowhere"]),
        ("[ingest]\nkey = \"sesion\"", vec![":2:", "ingest.key", "sesion", "session"]),
        ("[[counters]]\nname = \"Views\"\nwindows = [{ size = \"1m\", keep = \"1h\" }]", vec![":2:", "Views", "a-z"]),
        ("[[counters]]\nname = \"v\"\nwindows = [{ size = \"1m\", kep = \"1h\" }]", vec![":3:", "kep", "keep"]),
        ("[[counters]]\nname = \"v\"\nwindows = [{ size = \"1m\", keep = \"1s\" }]", vec!["`v`", "1m", "keep"]),
        (
            "[[counters]]\nname = \"v\"\nby = [\"page\"]\nwindows = [{ size = \"1m\", keep = \"1h\" }]",
            vec!["`v`", "page", "payload"],
        ),
        ("[[counters]]\nname = \"v\"\nwindows = []", vec!["`v`", "window"]),
        ("this is no TOML", vec![":1:", "TOML"]),
        // What others can reach has to be opened on purpose.
        ("[ingest]\nlisten = \"0.0.0.0:1\"", vec![":2:", "ingest.listen", "0.0.0.0:1", "open"]),
        ("[query]\nlisten = \"[::]:1\"", vec![":2:", "query.listen", "[::]:1", "token", "open"]),
        ("[log]\nkind = \"embedded\"\n[ingest]\nlisten = \"192.0.2.1:1\"", vec![":4:", "ingest.listen", "open"]),
    ]
}

fn assert_refused(finished: &Finished, named: &[&str]) {
    let output = &finished.output;
    assert_ne!(finished.code, 0, "{output}");
    for name in named {
        assert!(output.contains(name), "{name} is not named: {output}");
    }
    assert!(!output.contains("panicked"), "{output}");
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_key_value_place_and_nearest_key() {
    for (text, named) in wrong() {
        for command in ["run", "check"] {
            let finished = finish_text(&[command], text).await;
            assert_refused(&finished, &named);
            assert!(named[0].starts_with('`') || finished.output.contains("streamgauge.toml:"), "{}", finished.output);
        }
    }
}

#[tokio::test]
async fn a_secret_is_in_no_message() {
    let text = "[store.redis]\nurl = \"redis://:hunter2@h:port\"\n[query]\ntoken = \"hunter2 x\"\n[log.kafka.properties]\n\"acks\" = \"hunter2\"";
    for line in 0..text.lines().count() {
        let broken =
            text.lines().enumerate().map(|(n, l)| if n == line { format!("{l} !\n") } else { format!("{l}\n") });
        let finished = finish_text(&["run"], &broken.collect::<String>()).await;
        assert_refused(&finished, &[]);
        assert!(!finished.output.contains("hunter2"), "{}", finished.output);
    }
}

#[tokio::test]
async fn a_topic_that_is_missing_and_may_not_be_made_is_named() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let (topic, prefix) = (unique("missing"), unique("missing"));
    let settings = Settings::kafka(kafka, redis, &topic, &prefix).with("log.kafka.create_topics", false);
    assert_refused(&finish(&["run"], &settings).await, &[&topic, "log.kafka.create_topics"]);
    assert_refused(&finish(&["check"], &settings).await, &[&topic]);
}

#[tokio::test]
async fn check_says_line_by_line_what_is_right_and_wrong() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let topic = kafka.topic_with("check", 2, &[("message.timestamp.type", "LogAppendTime")]).await;
    let settings = Settings::kafka(kafka, redis, &topic, &unique("check"));
    let right = finish(&["check"], &settings).await;
    assert_eq!(right.code, 0, "{}", right.output);
    assert!(right.output.contains(&topic) && right.output.contains(&kafka.brokers()), "{}", right.output);

    let compacted = kafka.topic_with("check", 2, &[("cleanup.policy", "compact")]).await;
    let doubtful = finish(&["check"], &settings.clone().with("log.kafka.topic", compacted)).await;
    for warned in ["LogAppendTime", "compact"] {
        assert!(doubtful.output.contains(warned), "{warned}: {}", doubtful.output);
    }
    let nobody = settings.with("store.redis.url", "redis://127.0.0.1:1");
    assert_refused(&finish(&["check"], &nobody).await, &["127.0.0.1:1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_of_another_configuration_are_not_touched() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let prefix = unique("layout");
    let settings = Settings::kafka(kafka, redis, &unique("layout"), &prefix);
    let gauge = Running::start(&settings).await;
    gauge.post(&json!({"type": "page_view"})).await;
    gauge.until_consumed(1).await;
    gauge.stop().await;

    let other = unique("layout-other");
    let changed = r#"
        [[counters]]
        name = "page_views"
        event = "page_view"
        by = ["payload.title"]
        windows = [{ size = "10s", keep = "1h" }]"#;
    let conflicts = [
        (settings.clone().with("log.kafka.topic", other.as_str()), vec!["topic", &other]),
        (settings.clone().with("log.kafka.group", other.as_str()), vec!["group", &other]),
        (settings.clone().with("store.redis.shards", 4), vec!["shards"]),
        (settings.clone().counting(changed), vec!["page_views", "by", "name"]),
    ];
    for (conflict, mut named) in conflicts {
        named.push(&prefix);
        // In the process, and by the binary: it ends, and says what to do.
        assert_refused(&finish(&["process"], &conflict).await, &named);
        let reason = Running::start_roles(&conflict, &streamgauge::telemetry::Role::ALL).await.failed().await;
        named.iter().for_each(|name| assert!(reason.contains(name), "{name}: {reason}"));
    }
    // A new counter is welcome, and says since when it counts.
    let added = "[[counters]]\nname = \"new\"\nwindows = [{ size = \"1m\", keep = \"1h\" }]";
    let gauge = Running::start(&settings.counting(added)).await;
    let answer = gauge.get("/api/v1/counters").await.expect(200);
    let since = answer["counters"][0]["since"].as_i64().unwrap();
    assert!((support::now_ms() / 1_000 - since).abs() < 600, "{answer}");
    let bucket = &gauge.counter("new", "from=-5m").await["buckets"][0];
    assert_eq!((&bucket["partial"], &bucket["total"]), (&json!(true), &json!(0)));
    gauge.stop().await;
}

#[tokio::test]
async fn one_file_belongs_to_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path());
    assert_refused(&finish(&["process"], &settings).await, &["embedded", "run"]);
    let gauge = Running::start(&settings).await;
    assert_refused(&finish(&["run"], &settings).await, &["streamgauge.db", "in use"]);
    gauge.stop().await;
}
