//! Topics that transactional producers write: offsets without a record, in the middle and at the end.

use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::app::{Running, finish};
use crate::support::doors::{SOON, sum};
use crate::support::oracle::Recount;
use crate::support::traffic::COUNTERS;
use crate::support::{self, Kafka, Settings, eventually, now_ms, unique};

const ANSWER: Duration = Duration::from_secs(30);

fn produce(kafka: &Kafka, topic: &str) {
    let producer: BaseProducer = kafka.client().set("transactional.id", topic).create().unwrap();
    producer.init_transactions(ANSWER).unwrap();
    for (transaction, commits) in [(0, true), (1, false), (2, true)] {
        producer.begin_transaction().unwrap();
        for n in 0..10 {
            let value = format!(r#"{{"type":"page_view","id":"{transaction}-{n}","payload":{{"path":"/t"}}}}"#);
            producer.send(BaseRecord::<str, str>::to(topic).payload(&value)).unwrap();
        }
        producer.flush(ANSWER).unwrap();
        if commits { producer.commit_transaction(ANSWER) } else { producer.abort_transaction(ANSWER) }.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_counts_and_offsets_without_a_record_are_skipped_up_to_the_end() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let topic = kafka.topic("transactions", 1).await;
    let settings = Settings::kafka(kafka, redis, &topic, &unique("transactions")).counting(COUNTERS);
    let gauge = Running::start(&settings).await;
    tokio::task::block_in_place(|| produce(kafka, &topic));
    gauge.until_consumed(20).await;
    let written_ms = now_ms();
    // Behind the marker of the last transaction nothing waits, so the partition is complete up to now.
    let status = eventually(SOON, "it has read to the end", async || {
        let status = gauge.status().await;
        let complete = status["complete_until"].as_f64().is_some_and(|until| until * 1_000.0 > written_ms as f64);
        let lag = status["partitions"][0]["lag_records"].as_i64();
        if complete && lag == Some(0) { Ok(status) } else { Err(status.to_string()) }
    })
    .await;
    // 10 records that were aborted, and a marker of each of the three transactions.
    assert_eq!((sum(&status, "skipped"), sum(&status, "counted")), (13, 20), "{status}");
    let recount = Recount::of_topic(kafka, &settings).await;
    recount.assert_in_redis(redis, &settings).await;
    gauge.stop().await;
    let verified = finish(&["verify"], &settings).await;
    assert_eq!(verified.code, 0, "{}", verified.output);
}
