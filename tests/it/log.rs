//! The Kafka log against a real broker: what is appended, what is read back, and how members share the partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use streamgauge::envelope::JSON;
use streamgauge::log::{
    About, Consumer, DeadLetter, EventLog, Extent, Header, KafkaConfig, KafkaLog, LogError, NewRecord, Notice,
    scan_kafka,
};
use streamgauge::telemetry::Metrics;

use crate::support::{Kafka, eventually, kafka, unique};

const DEADLINE: Duration = Duration::from_secs(30);

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new().unwrap())
}

fn config(kafka: &Kafka, topic: String) -> KafkaConfig {
    let mut config = KafkaConfig { brokers: kafka.brokers(), group: unique("group"), topic, ..KafkaConfig::default() };
    for (name, value) in [("reconnect.backoff.max.ms", "200"), ("message.timeout.ms", "4000")] {
        config.properties.insert(name.to_owned(), value.to_owned());
    }
    config
}

/// A log on a new topic of its own, which it creates itself.
async fn log(kafka: &Kafka, name: &str) -> (KafkaConfig, KafkaLog) {
    let config = config(kafka, unique(name));
    let log = KafkaLog::connect(&config, metrics()).unwrap();
    log.prepare().await.unwrap();
    (config, log)
}

fn events(count: usize) -> Vec<NewRecord> {
    let event = |n: usize| {
        let about = About { event_type: "page_view".into(), event_version: 2, content_type: JSON, trace: None };
        NewRecord::event(format!("session-{}", n % 50), format!("{{\"n\":{n}}}").into_bytes(), about)
    };
    (0..count).map(event).collect()
}

/// A member of the group as the pipeline drives one, on this thread.
struct Member {
    consumer: Arc<dyn Consumer>,
    ours: BTreeSet<i32>,
    read: Vec<(i32, i64)>,
    notices: Vec<Notice>,
    next: BTreeMap<i32, i64>,
}

impl Member {
    fn join(log: &KafkaLog) -> Member {
        let consumer = log.consumer().unwrap();
        let (ours, read, notices, next) = Default::default();
        Member { consumer, ours, read, notices, next }
    }

    fn poll(&mut self) -> Vec<Notice> {
        let notices = self.consumer.poll(Duration::from_millis(50), 500, &mut |record| {
            self.read.push((record.partition, record.offset));
            self.next.insert(record.partition, record.offset + 1);
        });
        self.notices.extend(notices.iter().cloned());
        notices
    }

    /// Starts what it is given at `places`, else at the committed offset or the beginning; commits and releases what
    /// it has to give up.
    fn heed(&mut self, notices: Vec<Notice>) {
        for notice in notices {
            match notice {
                Notice::Assigned(partitions) => {
                    let extents = self.consumer.extents(&partitions).unwrap();
                    let places = extents.iter().map(|e| (e.partition, e.committed.unwrap_or(e.start)));
                    self.consumer.start(&places.collect::<Vec<_>>()).unwrap();
                    self.ours.extend(partitions);
                }
                Notice::Revoked(partitions) | Notice::Lost(partitions) => {
                    let done = partitions.iter().filter_map(|p| Some((*p, *self.next.get(p)?)));
                    self.consumer.commit(&done.collect::<Vec<_>>());
                    // One by one: the answer is due with the last.
                    partitions.iter().for_each(|p| self.consumer.release(&[*p]).unwrap());
                    if partitions.is_empty() {
                        self.consumer.release(&[]).unwrap();
                    }
                    self.ours.retain(|p| !partitions.contains(p));
                }
                Notice::OutOfRange(_) | Notice::Failed(_) | Notice::Fatal(_) => {}
            }
        }
    }

    fn step(&mut self) {
        let notices = self.poll();
        self.heed(notices);
    }
}

/// Lets the members work until `done`.
fn drive(what: &str, members: &mut [&mut Member], mut done: impl FnMut(&[&mut Member]) -> bool) {
    let begun = Instant::now();
    while !done(members) {
        assert!(begun.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        members.iter_mut().for_each(|member| member.step());
    }
}

/// The partition that a Java client chooses, written from its sources: what stands in between must agree.
fn java_partition(key: &[u8], partitions: u32) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let mut chunks = key.chunks_exact(4);
    for chunk in chunks.by_ref() {
        let mut k = u32::from_le_bytes(chunk.try_into().unwrap()).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^= hash >> 15;
    ((hash & 0x7fff_ffff) % partitions) as i32
}

/// The first record of a topic that `wanted` accepts, with its headers.
fn find(kafka: &Kafka, topic: &str, partitions: i32, wanted: impl Fn(&[u8]) -> bool) -> BTreeMap<String, String> {
    let consumer: BaseConsumer = kafka.client().set("group.id", "finder").create().unwrap();
    let mut list = TopicPartitionList::new();
    (0..partitions).for_each(|p| list.add_partition_offset(topic, p, Offset::Beginning).unwrap());
    consumer.assign(&list).unwrap();
    loop {
        let message = consumer.poll(DEADLINE).expect("a record in time").unwrap();
        let value = message.payload().unwrap_or_default();
        if !wanted(value) {
            continue;
        }
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let headers = message.headers().unwrap();
        let mut found: BTreeMap<_, _> =
            headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect();
        found.insert("(value bytes)".to_owned(), value.len().to_string());
        found.insert("(time type)".to_owned(), format!("{:?}", message.timestamp()));
        return found;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_where_a_java_client_would_put_them_with_their_headers() {
    let kafka = kafka().await;
    let (config, log) = log(kafka, "append").await;
    log.append(events(200)).await.unwrap();
    assert_eq!(log.partitions().await.unwrap(), 4);
    log.ready().await.unwrap();
    let records = kafka.read(&config.topic).await;
    assert_eq!(records.len(), 200);
    let mut last = BTreeMap::new();
    for record in &records {
        let key = record.key.as_deref().unwrap();
        assert_eq!(record.partition, java_partition(key, 4), "{}", String::from_utf8_lossy(key));
        let value: serde_json::Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        let n = value["n"].as_i64().unwrap();
        assert!(last.insert(key, n).is_none_or(|before| before < n), "the records of a key keep their order");
    }
    let topic = config.topic.clone();
    let headers = tokio::task::block_in_place(|| find(kafka, &topic, 4, |value| value == b"{\"n\":7}"));
    assert_eq!(headers["event_type"], "page_view");
    assert_eq!(headers["event_version"], "2");
    assert_eq!(headers["content-type"], "application/json");
    assert!(headers["(time type)"].starts_with("LogAppendTime"), "{headers:?}");
    log.prepare().await.expect("topics that are there are fine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_reads_everything_and_its_commit_is_seen() {
    let kafka = kafka().await;
    let (config, log) = log(kafka, "consume").await;
    log.append(events(500)).await.unwrap();
    let (consumer, extents) = tokio::task::block_in_place(|| {
        let mut member = Member::join(&log);
        drive("all records", &mut [&mut member], |members| members[0].read.len() == 500);
        let all: Vec<i32> = member.ours.iter().copied().collect();
        assert_eq!(all, [0, 1, 2, 3]);
        let extents = member.consumer.extents(&all).unwrap();
        let ends = member.consumer.ends(&all).unwrap();
        for (extent, end) in extents.iter().zip(&ends) {
            assert_eq!((extent.partition, extent.end), *end);
            assert_eq!((extent.start, extent.committed), (0, None));
            assert_eq!(member.next.get(&extent.partition), Some(&extent.end));
        }
        member.consumer.commit(&ends);
        (member.consumer, extents)
    });
    let committed = |e: &Extent| Extent { committed: Some(e.end), ..*e };
    let expected: Vec<Extent> = extents.iter().map(committed).collect();
    eventually(DEADLINE, "the commit", async || {
        let found = tokio::task::block_in_place(|| consumer.extents(&[0, 1, 2, 3])).unwrap();
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    let (mut seen, end) = (Vec::new(), extents[2].end);
    let scanned = tokio::task::block_in_place(|| {
        scan_kafka(&config, metrics(), 2, (1, end - 1), &mut |record| seen.push(record.offset))
    });
    scanned.unwrap();
    assert_eq!(seen, (1..end - 1).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_share_and_hand_over_without_a_stop() {
    let (_, log) = log(kafka().await, "rebalance").await;
    log.append(events(400)).await.unwrap();
    tokio::task::block_in_place(|| {
        let mut first = Member::join(&log);
        drive("the first has all", &mut [&mut first], |m| m[0].ours.len() == 4 && m[0].read.len() == 400);
        let mut second = Member::join(&log);
        let shared = |m: &[&mut Member]| m[0].ours.len() == 2 && m[1].ours.len() == 2;
        drive("they share", &mut [&mut first, &mut second], shared);
        assert!(first.ours.is_disjoint(&second.ours));
        assert_eq!(second.read, [], "positions were handed over");

        let begun = Instant::now();
        first.consumer.close();
        assert!(begun.elapsed() < Duration::from_secs(3));
        drive("the second has all", &mut [&mut second], |m| m[0].ours.len() == 4);
        // The first was closed without a commit of its share, so that is read again, from what it committed before.
        assert!(
            second.notices.iter().all(|n| !matches!(n, Notice::Lost(_) | Notice::Failed(_))),
            "{:?}",
            second.notices
        );
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_may_take_long_and_a_revocation_finds_partitions_that_never_started() {
    let (_, log) = log(kafka().await, "slow").await;
    tokio::task::block_in_place(|| {
        let mut slow = Member::join(&log);
        let begun = Instant::now();
        while !slow.poll().iter().any(|n| matches!(n, Notice::Assigned(p) if p.len() == 4)) {
            assert!(begun.elapsed() < DEADLINE);
        }
        // It never starts anything, and the other one gets its share all the same.
        let mut other = Member::join(&log);
        let begun = Instant::now();
        while other.ours.len() < 2 {
            assert!(begun.elapsed() < DEADLINE);
            let notices = slow.poll();
            for notice in &notices {
                if let Notice::Revoked(partitions) = notice {
                    slow.consumer.release(partitions).unwrap();
                    // Too late for these: they are somebody else's.
                    let late: Vec<_> = partitions.iter().map(|p| (*p, 0)).collect();
                    slow.consumer.start(&late).unwrap();
                }
            }
            other.step();
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_new_start_no_older_record_comes() {
    let (_, log) = log(kafka().await, "again").await;
    log.append(events(4_000)).await.unwrap();
    tokio::task::block_in_place(|| {
        let mut member = Member::join(&log);
        for round in 0..20 {
            drive("some records", &mut [&mut member], |m| m[0].read.iter().any(|(p, _)| *p == 0));
            let to = (round * 7) % 20;
            member.consumer.start(&[(0, to)]).unwrap();
            member.read.clear();
            member.next.remove(&0);
            drive("the place", &mut [&mut member], |m| m[0].read.iter().any(|(p, _)| *p == 0));
            let offsets: Vec<i64> = member.read.iter().filter(|(p, _)| *p == 0).map(|(_, offset)| *offset).collect();
            let expected: Vec<i64> = (to..).take(offsets.len()).collect();
            assert_eq!(offsets, expected, "round {round}");
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_loses_nothing() {
    let (_, log) = log(kafka().await, "pause").await;
    log.append(events(4_000)).await.unwrap();
    tokio::task::block_in_place(|| {
        let mut member = Member::join(&log);
        drive("some records", &mut [&mut member], |m| !m[0].read.is_empty());
        let all: Vec<i32> = member.ours.iter().copied().collect();
        member.consumer.pause(&all).unwrap();
        let before = member.read.len();
        (0..20).for_each(|_| member.step());
        assert_eq!(member.read.len(), before, "paused");
        member.consumer.resume(&all).unwrap();
        drive("the rest", &mut [&mut member], |m| m[0].read.len() >= 4_000);
        let distinct: BTreeSet<_> = member.read.iter().collect();
        assert_eq!((member.read.len(), distinct.len()), (4_000, 4_000));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_the_log_does_not_hold_is_said_and_can_be_left() {
    let (_, log) = log(kafka().await, "range").await;
    log.append(events(100)).await.unwrap();
    tokio::task::block_in_place(|| {
        let mut member = Member::join(&log);
        drive("all records", &mut [&mut member], |m| m[0].read.len() == 100);
        member.consumer.start(&[(1, 1_000_000)]).unwrap();
        drive("the error", &mut [&mut member], |m| m[0].notices.contains(&Notice::OutOfRange(Some(1))));
        member.read.clear();
        member.consumer.start(&[(1, 0)]).unwrap();
        drive("the partition again", &mut [&mut member], |m| m[0].read.first() == Some(&(1, 0)));
    });
}

fn letter(offset: i64, bytes: usize) -> DeadLetter {
    DeadLetter {
        partition: 3,
        offset,
        time_ms: Some(1_700_000_000_000),
        key: Some(b"session".to_vec()),
        value: Some(vec![b'x'; bytes]),
        headers: vec![Header::text("event_type", "page_view")],
        error: "no JSON".to_owned(),
        attempts: 1,
        failed_at_ms: 1_700_000_001_000,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_too_large_is_cut_and_the_others_are_not() {
    let kafka = kafka().await;
    let dead = kafka.topic_with("dead", 1, &[("max.message.bytes", "100000")]).await;
    // As large as compressed data: lz4 must not make it fit.
    let config = KafkaConfig { dead_letter_topic: Some(dead.clone()), ..config(kafka, unique("letters")) };
    let mut config = config;
    config.properties.insert("compression.type".to_owned(), "none".to_owned());
    let log = KafkaLog::connect(&config, metrics()).unwrap();
    log.prepare().await.unwrap();
    log.dead_letters(&[letter(1, 500), letter(2, 1_500_000), letter(3, 700)]).await.unwrap();
    tokio::task::block_in_place(|| {
        let whole = find(kafka, &dead, 1, |value| value.len() == 500);
        assert_eq!(whole["error"], "no JSON");
        assert_eq!(whole["original-topic"], config.topic);
        assert_eq!(whole["original-partition"], "3");
        assert_eq!(whole["original-offset"], "1");
        assert_eq!(whole["original-timestamp"], "1700000000000");
        assert_eq!(whole["attempts"], "1");
        assert_eq!(whole["failed-at"], "1700000001000");
        assert_eq!(whole["consumer-group"], config.group);
        assert_eq!(whole["event_type"], "page_view");
        assert!(!whole.contains_key("truncated"));
        let cut = find(kafka, &dead, 1, |value| value.len() > 10_000);
        assert_eq!(cut["original-offset"], "2");
        assert_eq!(cut["(value bytes)"], "65529");
        assert_eq!(cut["truncated"], "value: first 65529 of 1500000 bytes");
        assert!(!find(kafka, &dead, 1, |value| value.len() == 700).contains_key("truncated"));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_topic_made_here_takes_more_than_the_topic() {
    let kafka = kafka().await;
    let (config, log) = log(kafka, "large").await;
    log.dead_letters(&[letter(1, 3_000_000)]).await.unwrap();
    let found = tokio::task::block_in_place(|| find(kafka, &config.dead_letter_topic(), 4, |_| true));
    assert_eq!(found["(value bytes)"], "3000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_named_with_what_to_do() {
    let kafka = kafka().await;
    let config = KafkaConfig { create_topics: false, ..config(kafka, unique("missing")) };
    let log = KafkaLog::connect(&config, metrics()).unwrap();
    let error = log.prepare().await.unwrap_err();
    assert!(matches!(&error, LogError::NoTopic(topic) if *topic == config.topic), "{error}");
    assert!(error.to_string().contains("log.kafka.create_topics"));
    assert!(log.ready().await.is_err());
    assert!(!error.is_retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_kafka_is_away_everything_says_so_and_afterwards_all_goes_on() {
    let kafka = Kafka::start().await;
    kafka.kill();
    let config = config(&kafka, unique("away"));
    let log = KafkaLog::connect(&config, metrics()).expect("it connects later");
    let error = log.prepare().await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains(&config.brokers), "{error}");
    let mut member = Member::join(&log);
    tokio::task::block_in_place(|| {
        (0..20).for_each(|_| drop(member.poll()));
        assert!(member.consumer.extents(&[0]).is_err());
    });
    kafka.restart().await;
    eventually(DEADLINE, "the topics", async || log.prepare().await).await;
    log.append(events(10)).await.unwrap();
    tokio::task::block_in_place(|| drive("all records", &mut [&mut member], |m| m[0].read.len() == 10));

    // A broker that is there but does not answer: leaving must not wait for it, nor appending for ever.
    kafka.pause();
    let begun = Instant::now();
    tokio::task::block_in_place(|| member.consumer.close());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    log.append(events(10)).await.unwrap_err();
    kafka.resume();
    eventually(DEADLINE, "appending again", async || log.append(events(10)).await).await;
    log.drain(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_is_beyond_the_end() {
    let kafka = kafka().await;
    let topic = kafka.topic("transaction", 1).await;
    let log = KafkaLog::connect(&config(kafka, topic.clone()), metrics()).unwrap();
    tokio::task::block_in_place(|| {
        let producer: BaseProducer = kafka.client().set("transactional.id", &topic).create().unwrap();
        producer.init_transactions(DEADLINE).unwrap();
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::to(&topic).key("k").payload("v")).unwrap();
        producer.flush(DEADLINE).unwrap();
        let mut member = Member::join(&log);
        drive("the partition", &mut [&mut member], |m| m[0].ours.len() == 1);
        assert_eq!(member.consumer.ends(&[0]).unwrap(), [(0, 0)]);
        producer.commit_transaction(DEADLINE).unwrap();
        drive("the record", &mut [&mut member], |m| m[0].read == [(0, 0)]);
        // The record and the mark of the commit.
        assert_eq!(member.consumer.ends(&[0]).unwrap(), [(0, 2)]);
    });
}
