//! Counts in a Redis Cluster: exact while a slot moves, and when a master dies. And from three Kafka brokers: exact
//! when a leader dies.

use std::time::Duration;

use crate::support::app::{Binary, finish};
use crate::support::doors::{Doors, SOON};
use crate::support::oracle::Recount;
use crate::support::traffic::{COUNTERS, Load, assert_stored_once};
use crate::support::{self, Kafka, KafkaCluster, RedisCluster, Settings, eventually, unique};

/// The default `shutdown_timeout`, and the 2 s that a TERM may take on top of it.
const SHUTDOWN: Duration = Duration::from_secs(12);

async fn settings(cluster: &RedisCluster, name: &str) -> Settings {
    let settings = Settings::kafka(support::kafka().await, support::redis().await, &unique(name), &unique(name));
    settings.counting(COUNTERS).on_cluster(cluster).with("store.redis.shards", 4)
}

/// Not ready to count, and the reason says this.
async fn until_refused(doors: &Doors, said: &str) {
    eventually(SOON, &format!("/readyz/process names {said:?}"), async || {
        let reply = doors.admin("/readyz/process").await;
        if reply.status == 503 && reply.text().contains(said) { Ok(()) } else { Err(reply.text()) }
    })
    .await;
}

async fn assert_exact(kafka: &Kafka, cluster: Option<&RedisCluster>, settings: &Settings, binary: &Binary, load: Load) {
    let acknowledged = load.stop().await;
    let records = kafka.read(settings.text_of("log.kafka.topic")).await;
    assert_stored_once(&acknowledged, records.iter().map(|record| record.value.as_deref().unwrap()));
    let recount = Recount::of_topic(kafka, settings).await;
    binary.until_consumed(recount.records()).await;
    match cluster {
        Some(cluster) => recount.assert_in_cluster(cluster, settings).await,
        None => recount.assert_in_redis(support::redis().await, settings).await,
    }
    recount.assert_in_api(binary).await;
    let verified = finish(&["verify"], settings).await;
    assert_eq!(verified.code, 0, "{}", verified.output);
    binary.terminate();
    assert_eq!(binary.ended(SHUTDOWN).await, 0, "{}", binary.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_under_load_loses_and_doubles_nothing() {
    let cluster = RedisCluster::start().await;
    let settings = settings(&cluster, "moving").await;
    let binary = Binary::start("run", &settings).await;
    binary.until_ready().await;
    let load = Load::start(&binary, "moving");
    load.until_acknowledged(1_000).await;
    // The slot of the layout's shard, and one without it.
    for shard in [0, 2] {
        let slot = cluster.slot_of(shard).await;
        let from = cluster.owner_of(slot).await;
        eventually(SOON, "there are counts to be moved", async || {
            let keys = cluster.keys_in(slot, from).await;
            if keys > 10 { Ok(()) } else { Err(format!("{keys} keys")) }
        })
        .await;
        let to = (from + 1) % 3;
        cluster.begin_move(slot, to).await;
        cluster.move_half().await;
        // Until a window begins whose keys are on neither side: a script that needs both sides has to wait.
        until_refused(&binary, "a cluster slot is being moved").await;
        load.until_acknowledged(1_000).await;
        let (left, arrived) = (cluster.keys_in(slot, from).await, cluster.keys_in(slot, to).await);
        assert!(left > 0 && arrived > 0, "{left} keys here and {arrived} there");
        assert_eq!(binary.status().await["unaccounted"], 0, "the status follows each partition to where it is");
        cluster.finish_move().await;
        binary.until_admin("/readyz/process", 200).await;
        load.until_acknowledged(500).await;
    }
    assert_exact(support::kafka().await, Some(&cluster), &settings, &binary, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_dies_under_load_and_comes_back_has_lost_nothing() {
    let cluster = RedisCluster::start().await;
    let settings = settings(&cluster, "master").await;
    let binary = Binary::start("run", &settings).await;
    binary.until_ready().await;
    let load = Load::start(&binary, "master");
    // The first is also the node that the configuration names as `url`.
    for number in [0, cluster.owner_of(cluster.slot_of(0).await).await] {
        load.until_acknowledged(1_000).await;
        cluster.master(number).kill();
        until_refused(&binary, "").await;
        load.until_acknowledged(1_000).await;
        cluster.master(number).restart().await;
        cluster.until_settled().await;
        binary.until_ready().await;
    }
    load.until_acknowledged(500).await;
    assert_exact(support::kafka().await, Some(&cluster), &settings, &binary, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_dies_under_load_and_comes_back_has_lost_nothing() {
    let (kafka, redis) = (KafkaCluster::start().await, support::redis().await);
    let settings = Settings::kafka(kafka.any(), redis, &unique("leader"), &unique("leader")).counting(COUNTERS);
    let settings = settings.with("log.kafka.replication", 3);
    let binary = Binary::start("run", &settings).await;
    binary.until_ready().await;
    let load = Load::start(&binary, "leader");
    for partition in [0, 3] {
        load.until_acknowledged(1_000).await;
        let topic = settings.text_of("log.kafka.topic");
        let leader = kafka.leader(topic, partition).await;
        kafka.node(leader).kill();
        eventually(SOON, "another broker leads", async || {
            let now = kafka.leader(topic, partition).await;
            if now == leader { Err("not yet") } else { Ok(()) }
        })
        .await;
        // The other two go on without it.
        load.until_acknowledged(1_000).await;
        kafka.node(leader).restart().await;
        kafka.until_up().await;
    }
    load.until_acknowledged(500).await;
    assert_exact(kafka.any(), None, &settings, &binary, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_looks_at_every_master() {
    let cluster = RedisCluster::start().await;
    let settings = settings(&cluster, "masters").await;
    let checked = finish(&["check"], &settings).await;
    assert_eq!(checked.code, 0, "{}", checked.output);
    for number in 0..3 {
        let node = format!("127.0.0.1:{}: version", cluster.master(number).port());
        assert!(checked.output.contains(&node), "{}", checked.output);
    }
    let policy = async |policy: &str| {
        let mut command = redis::cmd("CONFIG");
        let mut last = cluster.master(2).connection().await;
        command.arg("SET").arg("maxmemory-policy").arg(policy).exec_async(&mut last).await.unwrap();
    };
    policy("allkeys-lru").await;
    let checked = finish(&["check"], &settings).await;
    assert_eq!(checked.code, 1, "{}", checked.output);
    let named = format!("127.0.0.1:{} of redis://", cluster.master(2).port());
    assert!(checked.output.contains(&named) && checked.output.contains("allkeys-lru"), "{}", checked.output);
    policy("noeviction").await;

    // A single Redis is no cluster, and a node of a cluster is no single Redis; both are told what to set.
    let single = settings.clone().with("store.redis.url", support::redis().await.url());
    let single = single.with("store.redis.cluster_nodes", vec![format!("127.0.0.1:{}", support::redis().await.port())]);
    let checked = finish(&["check"], &single).await;
    assert!(checked.output.contains("leave store.redis.cluster_nodes empty"), "{}", checked.output);
    let node = settings.with("store.redis.cluster_nodes", Vec::<String>::new());
    let checked = finish(&["check"], &node).await;
    assert!(checked.output.contains("store.redis.cluster_nodes names its nodes"), "{}", checked.output);
}
