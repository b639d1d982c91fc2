//! `streamgauge dlq`: dead letters of the pipeline and of others are listed, shown, redriven once and purged.

mod embedded;
mod killed;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::app::{Finished, Running, finish};
use crate::support::doors::SOON;
use crate::support::topic::{Raw, Record};
use crate::support::traffic::Visitors;
use crate::support::wire::{self, Odd};
use crate::support::{self, Kafka, Settings, eventually, free_ports, now_ms, unique};

/// Bytes that a terminal would obey, and some that are no text.
const HOSTILE: &[u8] = b"\x1b[2J\x1b]0;owned\x07\r\n\xff\xc2\x9b31m\x00";

/// Records that cannot be read as events; the first one is hostile wherever it can be.
fn unreadable() -> Vec<Raw> {
    let header = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
    let raw = |n: i32, value: Option<&[u8]>| Raw {
        key: (n != 1).then(|| format!("key {n}").into_bytes()),
        value: value.map(<[u8]>::to_vec),
        partition: Some(n % 3),
        headers: vec![header("n", n.to_string().as_bytes())],
        ..Raw::default()
    };
    let hostile = Raw {
        key: Some(HOSTILE.to_vec()),
        headers: vec![header("x-\x1b[31m", HOSTILE), header("empty", b""), header("error", b"not this one")],
        ..raw(0, Some(HOSTILE))
    };
    vec![
        hostile,
        raw(1, Some(b"no json")),
        raw(2, None),
        raw(3, Some(b"")),
        raw(4, Some(br#"{"type":"view","timestamp":"soon"}"#)),
        raw(5, Some("{\"type\":\"view\",\"\u{9b}31m\u{202e}\":1,\"type\":\"view\"}".as_bytes())),
    ]
}

/// A dead letter as a worker of this group leaves it, of partition 0 of the topic.
pub(crate) struct Dead<'a> {
    topic: &'a str,
    group: &'a str,
    reason: &'a str,
    offset: i64,
    failed_at: i64,
}

impl Dead<'_> {
    fn raw(&self, value: &[u8], more: &[(&str, &str)]) -> Raw {
        let (offset, failed_at) = (self.offset.to_string(), self.failed_at.to_string());
        let told = [
            ("error", self.reason),
            ("original-topic", self.topic),
            ("original-partition", "0"),
            ("original-offset", &offset),
            ("original-timestamp", "1700000000000"),
            ("attempts", "5"),
            ("failed-at", &failed_at),
            ("consumer-group", self.group),
        ];
        let headers = told.iter().chain(more).map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
        let key = Some(format!("order {}", self.offset % 7).into_bytes());
        Raw { key, value: Some(value.to_vec()), headers: headers.collect(), ..Raw::default() }
    }
}

/// A topic with its dead-letter topic of two partitions, and a configuration whose own topic is another one.
pub(crate) async fn orders(kafka: &Kafka, name: &str) -> (String, String, Settings) {
    let redis = support::redis().await;
    let topic = kafka.topic(name, 2).await;
    let dead = format!("{topic}.dlq");
    kafka.create(&dead, 2, &[]).await;
    let settings = Settings::kafka(kafka, redis, &unique("not-this"), &unique(name));
    (topic, dead, settings)
}

/// The lines of `dlq list --json`, and its summary.
pub(crate) async fn listed(arguments: &[&str], settings: &Settings) -> (Vec<Value>, Value) {
    let all: Vec<_> = ["dlq", "list", "--json"].iter().chain(arguments).copied().collect();
    let finished = finish(&all, settings).await;
    assert_eq!(finished.code, 0, "{}", finished.output);
    let mut lines: Vec<Value> = finished.output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().expect("a summary")["summary"].clone();
    assert_eq!(summary["shown"], lines.len(), "{summary}");
    (lines, summary)
}

fn offsets(lines: &[Value]) -> Vec<i64> {
    let mut offsets: Vec<_> = lines.iter().map(|line| line["offset"].as_i64().unwrap()).collect();
    offsets.sort_unstable();
    offsets
}

async fn dlq(arguments: &[&str], settings: &Settings) -> Finished {
    let all: Vec<_> = ["dlq"].iter().chain(arguments).copied().collect();
    finish(&all, settings).await
}

/// How often a record was redriven, by its header.
fn redriven(record: &Record) -> u32 {
    let header = record.headers.iter().find(|(name, _)| name == "redriven");
    header.map_or(0, |(_, value)| std::str::from_utf8(value).unwrap().parse().unwrap())
}

fn assert_harmless(output: &str) {
    let obeyed = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202e}' | '\u{2066}');
    assert!(!output.contains(obeyed), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_of_the_pipeline_are_listed_shown_and_redriven_once() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let topic = kafka.topic("dlq", 3).await;
    let settings = Settings::kafka(kafka, redis, &topic, &unique("dlq"));
    kafka.produce(&topic, unreadable()).await;
    let gauge = Running::start(&settings).await;
    gauge.until_consumed(6).await;
    gauge.stop().await;

    let list = dlq(&["list"], &settings).await;
    assert_eq!(list.code, 0, "{}", list.output);
    assert!(list.output.contains(&format!("6 dead letters in {topic}.dlq")), "{}", list.output);
    assert_harmless(&list.output);
    let (lines, summary) = listed(&[], &settings).await;
    assert_eq!((lines.len(), &summary["letters"]), (6, &6.into()));
    for line in &lines {
        let group = settings.text_of("log.kafka.group");
        assert_eq!((line["topic"].as_str(), line["group"].as_str()), (Some(&*topic), Some(group)), "{line}");
        let show = dlq(&["show", line["id"].as_str().unwrap()], &settings).await;
        assert_eq!(show.code, 0, "{}", show.output);
        assert_harmless(&show.output);
        assert!(show.output.contains(&format!("partition {}, offset {}", line["partition"], line["offset"])));
    }
    let hostile = lines.iter().find(|line| line["key"].is_null() && line["key_hex"].is_string()).expect("no text");
    let show = dlq(&["show", hostile["id"].as_str().unwrap()], &settings).await;
    assert!(show.output.contains("x-\\u{1b}[31m: \\u{1b}[2J"), "{}", show.output);

    let dry = dlq(&["redrive", "--all", "--dry-run"], &settings).await;
    assert!(dry.code == 0 && dry.output.contains("6 dead letters"), "{}", dry.output);
    assert_eq!(kafka.read(&topic).await.len(), 6, "a dry run sends nothing");
    let before = kafka.read(&topic).await;
    for expected in [12, 12] {
        let redrive = dlq(&["redrive", "--all"], &settings).await;
        assert_eq!(redrive.code, 0, "{}", redrive.output);
        assert_eq!(kafka.read(&topic).await.len(), expected, "{}", redrive.output);
    }
    assert_same_records(&before, &kafka.read(&topic).await);
    assert_eq!(listed(&[], &settings).await.0.len(), 0);
    let (again, _) = listed(&["--redriven"], &settings).await;
    assert!(again.len() == 6 && again.iter().all(|line| line["redriven"]["to"] == *topic), "{again:?}");
    let show = dlq(&["show", again[0]["id"].as_str().unwrap()], &settings).await;
    assert!(show.output.contains(&format!("redriven        to {topic}")), "{}", show.output);

    // What died again is another letter, and says that it was redriven before.
    let gauge = Running::start(&settings).await;
    gauge.until_consumed(12).await;
    gauge.stop().await;
    assert_eq!(listed(&[], &settings).await.0.len(), 6);
    let redrive = dlq(&["redrive", "--all", "--rate", "100000"], &settings).await;
    assert_eq!(redrive.code, 0, "{}", redrive.output);
    let records = kafka.read(&topic).await;
    let counts = [1, 2].map(|times| records.iter().filter(|record| redriven(record) == times).count());
    assert_eq!((records.len(), counts), (18, [6, 6]));
}

/// Each record is there twice: as it was, and redriven with the same key, value and headers.
fn assert_same_records(before: &[Record], after: &[Record]) {
    for record in before {
        let same = |other: &&Record| {
            let own = |headers: &[(String, Vec<u8>)]| {
                let mut own = headers.to_vec();
                // Names that a dead letter has for itself are gone with the first death.
                own.retain(|(name, _)| !["redriven", "error"].contains(&name.as_str()));
                own
            };
            (&other.key, &other.value, own(&other.headers)) == (&record.key, &record.value, own(&record.headers))
        };
        let found: Vec<_> = after.iter().filter(same).collect();
        let mut times: Vec<_> = found.iter().map(|record| redriven(record)).collect();
        times.sort_unstable();
        assert_eq!(times, [0, 1], "{record:?}");
        if record.key.is_none() {
            assert_eq!(found[1].partition, record.partition, "without a key it goes where it was");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_choose_and_what_cannot_be_redriven_is_counted() {
    let kafka = support::kafka().await;
    let (topic, dead, settings) = orders(kafka, "filters").await;
    let now = now_ms();
    let letter = |offset, group, reason, failed_at| Dead { topic: &topic, group, reason, offset, failed_at };
    let hour = 3_600_000;
    let letters = vec![
        letter(0, "payment", "card declined", now - 2 * hour).raw(b"0", &[("event_type", "order.placed")]),
        letter(1, "payment", "card declined", now - 60_000).raw(b"1", &[("event_type", "order.placed")]),
        letter(2, "email", "no such address", now - 60_000).raw(br#"{"type":"order.paid"}"#, &[]),
        letter(3, "email", "no such address", now - 60_000).raw(b"3", &[("truncated", "value: first 1 of 9 bytes")]),
        // Stored twice, as a writer does that does not know whether the first time went well.
        letter(1, "payment", "card declined", now - 50_000).raw(b"1", &[("event_type", "order.placed")]),
        Raw { value: Some(b"from somebody else".to_vec()), ..Raw::default() },
    ];
    kafka.produce(&dead, letters).await;
    let of_topic = |more: &[&'static str]| -> Vec<String> {
        ["--topic", &topic].iter().chain(more).map(|word| (*word).to_owned()).collect()
    };
    let cases: &[(&[&'static str], &[i64])] = &[
        (&[], &[0, 1, 2, 3]),
        (&["--reason", "declined"], &[0, 1]),
        (&["--group", "email"], &[2, 3]),
        (&["--partition", "0"], &[0, 1, 2, 3]),
        (&["--partition", "1"], &[]),
        (&["--since", "-30m"], &[1, 2, 3]),
        (&["--until", "-30m"], &[0]),
        (&["--event-type", "order.paid"], &[2]),
        (&["--event-type", "order.placed", "--since", "-1h"], &[1]),
    ];
    for (filter, expected) in cases {
        let arguments = of_topic(filter);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        assert_eq!(offsets(&listed(&arguments, &settings).await.0), *expected, "{filter:?}");
    }
    let (lines, summary) = listed(&["--dead-letter-topic", &dead, "--limit", "1"], &settings).await;
    assert_eq!((lines.len(), &summary["letters"], &summary["copies"]), (1, &5.into(), &1.into()), "{summary}");
    assert_eq!(summary["reasons"][0]["count"], 2, "{summary}");

    let place = ["--dead-letter-topic", dead.as_str()];
    let redrive = |more: &'static [&'static str]| [&["redrive"], &place[..], more].concat();
    let some = dlq(&redrive(&["--reason", "declined"]), &settings).await;
    assert_eq!(some.code, 0, "{}", some.output);
    let values = async || kafka.read(&topic).await.into_iter().map(|r| r.value.unwrap()).collect::<Vec<_>>();
    let sorted = async || {
        let mut all = values().await;
        all.sort();
        all
    };
    assert_eq!(sorted().await, [b"0", b"1"], "the copy is not sent a second time");

    let rest = dlq(&redrive(&["--all"]), &settings).await;
    assert_eq!(rest.code, 1, "not all were redriven: {}", rest.output);
    for part in ["1 dead letter of", "a part was cut off", "does not say which topic", "2 letters"] {
        assert!(rest.output.contains(part), "{part}: {}", rest.output);
    }
    assert_eq!(values().await.len(), 3);
    let cut = dlq(&redrive(&["--group", "email", "--include-truncated"]), &settings).await;
    assert_eq!((cut.code, values().await.len()), (0, 4), "{}", cut.output);
    let elsewhere = kafka.topic("elsewhere", 1).await;
    let to = [&["redrive"], &place[..], &["--all", "--to-topic", &elsewhere]].concat();
    let rest = dlq(&to, &settings).await;
    assert_eq!((rest.code, kafka.read(&elsewhere).await.len()), (0, 1), "{}", rest.output);
    assert_eq!(listed(&place, &settings).await.0.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_are_chosen_by_their_ids() {
    let kafka = support::kafka().await;
    let (topic, dead, settings) = orders(kafka, "ids").await;
    let letter = |offset| Dead { topic: &topic, group: "g", reason: "why", offset, failed_at: 5 }.raw(b"v", &[]);
    let letters: Vec<_> = (0..20).map(letter).collect();
    kafka.produce(&dead, letters).await;
    let (lines, _) = listed(&["--topic", &topic], &settings).await;
    let ids: BTreeMap<i64, &str> =
        lines.iter().map(|line| (line["offset"].as_i64().unwrap(), line["id"].as_str().unwrap())).collect();
    let both = dlq(&["redrive", "--topic", &topic, ids[&3], ids[&7], "1:999", "7:0"], &settings).await;
    assert_eq!(both.code, 1, "two are not there: {}", both.output);
    assert!(both.output.contains("there is no dead letter 1:999") && both.output.contains("2 dead letters of"));
    assert_eq!(kafka.read(&topic).await.len(), 2);
    let again = dlq(&["redrive", "--topic", &topic, ids[&3]], &settings).await;
    assert!(again.code == 1 && again.output.contains("redriven before"), "{}", again.output);
    assert_eq!(kafka.read(&topic).await.len(), 2);
    let again = dlq(&["redrive", "--topic", &topic, "--again", ids[&3]], &settings).await;
    assert_eq!((again.code, kafka.read(&topic).await.len()), (0, 3), "{}", again.output);
    assert_eq!(listed(&["--topic", &topic], &settings).await.0.len(), 18);

    for (arguments, said) in [
        (&["redrive", "--topic", &topic][..], "say which"),
        (&["redrive", "--topic", &topic, "--all", "0:1"], "either ids"),
        (&["redrive", "--topic", &topic, "--all", "--to-topic", &dead], "is the dead-letter topic itself"),
        (&["show", "--topic", &topic, "0:999"], "there is no dead letter 0:999"),
    ] {
        let refused = dlq(arguments, &settings).await;
        assert!(refused.code == 1 && refused.output.contains(said), "{}", refused.output);
    }
    assert_eq!(dlq(&["show", "--topic", &topic, "nonsense"], &settings).await.code, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_asks_and_deletes_what_was_there() {
    let kafka = support::kafka().await;
    let (topic, dead, settings) = orders(kafka, "purge").await;
    let letter = |offset| Dead { topic: &topic, group: "g", reason: "why", offset, failed_at: 5 }.raw(b"v", &[]);
    let place = ["--topic", topic.as_str()];
    let purge = |more: &'static [&'static str]| [&["purge"], &place[..], more].concat();
    let letters: Vec<_> = (0..10).map(letter).collect();
    kafka.produce(&dead, letters).await;
    let unasked = dlq(&purge(&[]), &settings).await;
    assert!(unasked.code == 1 && unasked.output.contains("10 dead letters"), "{}", unasked.output);
    assert!(unasked.output.contains("--yes"), "{}", unasked.output);
    let filtered = dlq(&purge(&["--yes", "--reason", "why"]), &settings).await;
    assert!(filtered.code == 1 && filtered.output.contains("without filters"), "{}", filtered.output);
    assert_eq!(kafka.read(&dead).await.len(), 10);
    let purged = dlq(&purge(&["--yes"]), &settings).await;
    assert!(purged.code == 0 && purged.output.contains("deleted: 10 dead letters"), "{}", purged.output);
    assert_eq!(kafka.read(&dead).await, []);
    let none = dlq(&["list", "--topic", &topic], &settings).await;
    assert!(none.code == 0 && none.output.contains(&format!("no dead letters in {dead}")), "{}", none.output);
    let nothing = dlq(&purge(&["--yes"]), &settings).await;
    assert!(nothing.code == 0 && nothing.output.contains("no dead letters"), "{}", nothing.output);
    kafka.produce(&dead, [letter(11)]).await;
    assert_eq!(offsets(&listed(&place, &settings).await.0), [11]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_said() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let settings = Settings::kafka(kafka, redis, &unique("never"), &unique("never"));
    for arguments in [&["list"][..], &["show", "0:0"], &["redrive", "--all"], &["purge", "--yes"]] {
        let missing = dlq(arguments, &settings).await;
        assert!(missing.code == 1 && missing.output.contains("there is no topic"), "{}", missing.output);
    }
    let [port] = free_ports();
    let away = settings.with("log.kafka.brokers", format!("127.0.0.1:{port}"));
    for arguments in [&["list"][..], &["redrive", "--all"]] {
        let nobody = dlq(arguments, &away).await;
        assert!(nobody.code == 1 && nobody.output.contains(&format!("127.0.0.1:{port}")), "{}", nobody.output);
    }
    // A letter whose topic was deleted.
    let (topic, dead, settings) = orders(kafka, "gone").await;
    let origin = unique("deleted");
    let letter = Dead { topic: &origin, group: "g", reason: "why", offset: 1, failed_at: 5 }.raw(b"v", &[]);
    kafka.produce(&dead, [letter]).await;
    let gone = dlq(&["redrive", "--dead-letter-topic", &dead, "--all"], &settings).await;
    assert!(gone.code == 1 && gone.output.contains("no such topic any more"), "{}", gone.output);
    let to = dlq(&["redrive", "--dead-letter-topic", &dead, "--all", "--to-topic", &topic], &settings).await;
    assert_eq!((to.code, kafka.read(&topic).await.len()), (0, 1), "{}", to.output);
}

/// Clients of other languages take any bytes for the name of a header.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_whose_name_is_no_text_stops_nobody() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let topic = kafka.topic("odd", 1).await;
    let settings = Settings::kafka(kafka, redis, &topic, &unique("odd"));
    let odd = Odd { value: b"no json", header: (b"\xff\xfe", b"x") };
    eventually(SOON, "it is produced", async || wire::produce(&kafka.brokers(), &topic, 0, &odd)).await;
    kafka.produce(&topic, [("k".to_owned(), br#"{"type":"page_view"}"#.to_vec())]).await;
    let gauge = Running::start(&settings).await;
    gauge.until_consumed(2).await;
    gauge.stop().await;
    let (lines, _) = listed(&[], &settings).await;
    let show = dlq(&["show", lines[0]["id"].as_str().unwrap()], &settings).await;
    assert!(lines.len() == 1 && show.code == 0 && show.output.contains("no json"), "{}", show.output);
    let copied = finish(&["replay", "--to-topic", &unique("odd-copy")], &settings).await;
    assert!(copied.code == 0 && copied.output.contains("2 records"), "{}", copied.output);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_that_is_too_large_for_the_topic_holds_up_no_other() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let topic = kafka.topic_with("too-large", 1, &[("max.message.bytes", "20000")]).await;
    let dead = format!("{topic}.dlq");
    kafka.create(&dead, 1, &[]).await;
    let settings = Settings::kafka(kafka, redis, &unique("not-this"), &unique("too-large"));
    // Bytes that cannot be compressed.
    let mut visitors = Visitors::new("too-large");
    let large: Vec<u8> = (0..100_000).map(|_| visitors.below(256) as u8).collect();
    let letter =
        |offset, value: &[u8]| Dead { topic: &topic, group: "g", reason: "why", offset, failed_at: 5 }.raw(value, &[]);
    let letters: Vec<_> = (0..9).map(|n| letter(n, if n == 4 { &large } else { b"small" })).collect();
    kafka.produce(&dead, letters).await;
    for sent in [8, 8] {
        let redrive = dlq(&["redrive", "--topic", &topic, "--all"], &settings).await;
        assert!(redrive.code == 1 && redrive.output.contains("larger than the topic takes"), "{}", redrive.output);
        assert_eq!(kafka.read(&topic).await.len(), sent, "{}", redrive.output);
    }
    assert_eq!(offsets(&listed(&["--topic", &topic], &settings).await.0), [4]);
}
