use std::collections::{BTreeMap, HashSet};

use redis::AsyncCommands;
use serde_json::Value;

use super::{Example, SOON};
use crate::support::topic::Record;
use crate::support::{self, eventually, unique};

const TRANSFERS: usize = 1_500;

/// What each account has gained or lost, by the topic: an event that stands there twice is one.
fn recounted(records: &[Record]) -> (usize, BTreeMap<String, i64>) {
    let (mut ids, mut balances) = (HashSet::new(), BTreeMap::new());
    for record in records {
        let event: Value = serde_json::from_slice(record.value.as_deref().expect("a value")).expect("JSON");
        if ids.insert(event["event_id"].to_string()) {
            let transfer = &event["payload"];
            let cents = transfer["cents"].as_i64().expect("cents");
            *balances.entry(transfer["from"].as_str().expect("who pays").to_owned()).or_default() -= cents;
            *balances.entry(transfer["to"].as_str().expect("who gets").to_owned()).or_default() += cents;
        }
    }
    (ids.len(), balances)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transfer_is_booked_once_over_kills_of_bank_and_members() {
    let (kafka, redis) = (support::kafka().await, support::redis().await.url());
    let (topic, prefix) = (unique("transactions"), unique("transactions"));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = folder.path().join("bank.db");
    let file = file.to_str().expect("a path that is text");
    let count = TRANSFERS.to_string();
    let bank = ["bank", "--file", file, "--count", &count, "--rate", "400"];
    let member = ["member", "--redis", &redis, "--prefix", &prefix, "--port", "0", "--takes", "5ms"];

    let first_bank = Example::start("transactions", &topic, &bank).await;
    let first = Example::start("transactions", &topic, &member).await;
    first_bank.until("relay: published ", 5).await;
    first_bank.kill();
    let second_bank = Example::start("transactions", &topic, &bank).await;
    first.until("member: ", 100).await;
    // One becomes three, and the first of them dies.
    let others =
        [Example::start("transactions", &topic, &member).await, Example::start("transactions", &topic, &member).await];
    others[0].until("member: ", 10).await;
    first.kill();
    let status = second_bank.0.ended(SOON).await;
    assert!(status.success(), "{status}: {}", second_bank.0.log_tail());

    let (transfers, expected) = recounted(&kafka.read(&topic).await);
    assert_eq!(transfers, TRANSFERS);
    let key = format!("{prefix}:{{{topic}-balances}}:balances");
    let mut connection = support::redis().await.connection().await;
    eventually(SOON, "every transfer is booked", async || {
        let booked: BTreeMap<String, i64> = connection.hgetall(&key).await.map_err(|e| e.to_string())?;
        if booked == expected { Ok(()) } else { Err(format!("{booked:?} instead of {expected:?}")) }
    })
    .await;
    let check = ["check", "--file", file, "--redis", &redis, "--prefix", &prefix];
    let checked = Example::run("transactions", &topic, &check).await;
    assert!(checked.iter().any(|line| line == "check: all 12 balances are equal"), "{checked:?}");
    for other in &others {
        assert!(!other.after("member: ").is_empty());
        other.interrupt().await;
    }
}
