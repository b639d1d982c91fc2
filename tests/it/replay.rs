//! `streamgauge replay --to-topic`: what a topic holds is copied, in order, and it says where to go on when it is not.

use std::collections::BTreeMap;

use rdkafka::admin::AdminOptions;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;

use crate::support::app::{Finished, Running, finish};
use crate::support::topic::{Raw, Record};
use crate::support::{self, Kafka, Settings, free_ports, unique};

const PARTITIONS: i32 = 3;
const EACH: usize = 200;
const BEGIN_MS: i64 = 1_700_000_000_000;

/// Records with and without key, value and headers, a second apart in each partition.
fn records() -> impl Iterator<Item = Raw> {
    (0..EACH).flat_map(|n| {
        (0..PARTITIONS).map(move |partition| Raw {
            // A key stays in its partition, though not in the one that the partitioner would choose.
            key: (n % 4 != 0).then(|| format!("key {partition} {}", n % 10).into_bytes()),
            value: (n % 17 != 0).then(|| n.to_string().into_bytes()),
            partition: Some(partition),
            timestamp: Some(BEGIN_MS + n as i64 * 1_000),
            headers: vec![("n".to_owned(), n.to_string().into_bytes())],
        })
    })
}

async fn source(kafka: &Kafka, name: &str) -> (String, Settings) {
    let redis = support::redis().await;
    let topic = kafka.topic(name, PARTITIONS).await;
    kafka.produce(&topic, records()).await;
    let settings = Settings::kafka(kafka, redis, &topic, &unique(name));
    (topic, settings)
}

async fn replay(arguments: &[&str], settings: &Settings) -> Finished {
    let all: Vec<_> = ["replay"].iter().chain(arguments).copied().collect();
    finish(&all, settings).await
}

/// Their numbers, partition by partition in order.
fn numbers(records: &[Record]) -> BTreeMap<i32, Vec<usize>> {
    let mut numbers: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for record in records {
        numbers.entry(record.partition).or_default().push(record.header("n").parse().unwrap());
    }
    numbers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_copied_with_all_that_its_records_have() {
    let kafka = support::kafka().await;
    let (topic, settings) = source(kafka, "replay").await;
    let to = unique("copy");
    let dry = replay(&["--to-topic", &to, "--dry-run"], &settings).await;
    assert!(dry.code == 0 && dry.output.contains("600 offsets"), "{}", dry.output);
    let copied = replay(&["--to-topic", &to], &settings).await;
    assert!(copied.code == 0 && copied.output.contains("600 records"), "{}", copied.output);
    let (before, after) = (kafka.read(&topic).await, kafka.read(&to).await);
    assert_eq!(after.len(), before.len());
    for (original, copy) in before.iter().zip(&after) {
        assert_eq!((original.partition, &original.key, &original.value), (copy.partition, &copy.key, &copy.value));
        let place = format!("{topic}/{}/{}", original.partition, original.offset);
        assert_eq!((copy.header("n"), copy.header("replayed-from")), (original.header("n"), place.as_str()));
        assert_eq!(copy.header("original-timestamp"), original.timestamp.unwrap().to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_another_number_of_partitions_the_records_of_a_key_stay_in_order() {
    let kafka = support::kafka().await;
    let (_, settings) = source(kafka, "fewer").await;
    let to = kafka.topic("two", 2).await;
    let copied = replay(&["--to-topic", &to, "--rate", "5000"], &settings).await;
    assert_eq!(copied.code, 0, "{}", copied.output);
    let mut last: BTreeMap<String, (i32, usize)> = BTreeMap::new();
    let records = kafka.read(&to).await;
    assert_eq!(records.len(), 600);
    for record in records {
        let n: usize = record.header("n").parse().unwrap();
        // Those without a key are in the order of the partition that they came from.
        let from = record.header("replayed-from").rsplit_once('/').unwrap().0.to_owned();
        let order = record.key.as_ref().map_or(from, |key| String::from_utf8(key.clone()).unwrap());
        let before = last.insert(order.clone(), (record.partition, n));
        assert!(before.is_none_or(|(partition, before)| partition == record.partition && before < n), "{order}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_is_copied_by_partition_offset_or_time() {
    let kafka = support::kafka().await;
    let (topic, settings) = source(kafka, "part").await;
    let at = |n: i64| (BEGIN_MS / 1_000 + n).to_string();
    let all: Vec<usize> = (0..EACH).collect();
    let cases: [(&[&str], [&[usize]; 3]); 6] = [
        (&["--partition", "1"], [&[], &all, &[]]),
        (&["--from-offset", "190", "--partition", "0", "--partition", "2"], [&all[190..], &[], &all[190..]]),
        (&["--from-offset", "0:195", "--from-offset", "2:198"], [&all[195..], &[], &all[198..]]),
        (&["--from", &at(150), "--to", &at(160)], [&all[150..160], &all[150..160], &all[150..160]]),
        (&["--from", "-1m"], [&[], &[], &[]]),
        (&["--to", "2023-11-14T22:13:25Z"], [&all[..5], &all[..5], &all[..5]]),
    ];
    for (arguments, expected) in cases {
        let to = kafka.topic("part", PARTITIONS).await;
        let copied = replay(&[&["--to-topic", &to], arguments].concat(), &settings).await;
        assert_eq!(copied.code, 0, "{}", copied.output);
        let found = numbers(&kafka.read(&to).await);
        for (partition, expected) in (0..).zip(expected) {
            assert_eq!(found.get(&partition).map_or(&[][..], Vec::as_slice), expected, "{arguments:?} {partition}");
        }
    }
    // What retention took is named, and the rest is copied.
    let mut below = TopicPartitionList::new();
    below.add_partition_offset(&topic, 1, Offset::Offset(120)).unwrap();
    kafka.admin().delete_records(&below, &AdminOptions::new()).await.unwrap();
    let to = kafka.topic("part", PARTITIONS).await;
    let copied = replay(&["--to-topic", &to, "--from-offset", "1:100"], &settings).await;
    assert_eq!(copied.code, 0, "{}", copied.output);
    assert!(copied.output.contains("offsets 100 to 119 are no longer there: it begins at 120"), "{}", copied.output);
    assert_eq!(numbers(&kafka.read(&to).await)[&1], all[120..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_acknowledged_is_where_to_go_on() {
    let kafka = support::kafka().await;
    let (topic, settings) = source(kafka, "large").await;
    // Bytes that cannot be compressed, and behind them more records.
    let mut visitors = crate::support::traffic::Visitors::new("large");
    let large: Vec<u8> = (0..100_000).map(|_| visitors.below(256) as u8).collect();
    let raw = |value: Vec<u8>, n: usize| Raw {
        value: Some(value),
        partition: Some(1),
        headers: vec![("n".to_owned(), n.to_string().into_bytes())],
        ..Raw::default()
    };
    kafka.produce(&topic, [raw(large, EACH), raw(b"behind".to_vec(), EACH + 1)]).await;
    let to = kafka.topic_with("small", PARTITIONS, &[("max.message.bytes", "20000")]).await;
    let stopped = replay(&["--to-topic", &to, "--partition", "1"], &settings).await;
    assert_eq!(stopped.code, 1, "{}", stopped.output);
    assert!(stopped.output.contains("go on with --from-offset 1:200"), "{}", stopped.output);
    let expected: Vec<usize> = (0..EACH).collect();
    assert_eq!(numbers(&kafka.read(&to).await)[&1], expected, "nothing behind it is stored");
    let rest = replay(&["--to-topic", &to, "--from-offset", "1:201"], &settings).await;
    assert_eq!(rest.code, 0, "{}", rest.output);
    assert_eq!(numbers(&kafka.read(&to).await)[&1].last(), Some(&(EACH + 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_before_anything_is_copied() {
    let kafka = support::kafka().await;
    let (topic, settings) = source(kafka, "refused").await;
    let to = unique("refused-copy");
    let [port] = free_ports();
    let away = settings.clone().with("log.kafka.brokers", format!("127.0.0.1:{port}"));
    let fixed = settings.clone().with("log.kafka.create_topics", false);
    for (arguments, settings, said) in [
        (&[][..], &settings, "not there yet"),
        (&["--to-topic", &topic], &settings, "is the topic to copy"),
        (&["--to-topic", &to, "--topic", "never-made"], &settings, "there is no topic `never-made`"),
        (&["--to-topic", &to, "--partition", "3"], &settings, "has no partition 3"),
        (&["--to-topic", &to, "--from-offset", "0:201"], &settings, "ends at offset 200"),
        (&["--to-topic", &to, "--from", "-1m", "--to", "-5m"], &settings, "nothing lies in between"),
        (&["--to-topic", &to], &fixed, "does not exist"),
        (&["--to-topic", &to], &away, &format!("127.0.0.1:{port}")),
    ] {
        let refused = replay(arguments, settings).await;
        assert!(refused.code == 1 && refused.output.contains(said), "{said}: {}", refused.output);
    }
    assert_eq!(replay(&["--to-topic", &to, "--from-offset", "x"], &settings).await.code, 2);
    let made = replay(&["--topic", &to, "--to-topic", "anything", "--dry-run"], &settings).await;
    assert!(made.output.contains(&format!("there is no topic `{to}`")), "it was not made: {}", made.output);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_log_is_copied_to_kafka_beside_its_process() {
    let kafka = support::kafka().await;
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path()).with("log.kafka.brokers", kafka.brokers());
    let gauge = Running::start(&settings).await;
    let event = |n: usize| json!({"type": "page_view", "session_id": format!("s{}", n % 5), "payload": {"n": n}});
    let events: Vec<_> = (0..100).map(event).collect();
    gauge.post(&json!(events)).await;
    gauge.until_consumed(100).await;
    let to = unique("from-the-file");
    let copied = replay(&["--to-topic", &to, "--from-offset", "10"], &settings).await;
    assert!(copied.code == 0 && copied.output.contains("90 records"), "{}", copied.output);
    gauge.stop().await;
    let records = kafka.read(&to).await;
    assert_eq!(records.len(), 90);
    let mut last: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for record in records {
        let event: serde_json::Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        let n = event["payload"]["n"].as_u64().unwrap();
        assert_eq!(record.header("replayed-from"), format!("user.events/0/{n}"));
        assert!(last.insert(record.key.unwrap(), n).is_none_or(|before| before < n));
    }
    let other = replay(&["--to-topic", &to, "--topic", "other"], &settings).await;
    assert!(other.code == 1 && other.output.contains("holds one topic"), "{}", other.output);
}
