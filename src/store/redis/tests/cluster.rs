//! Slots that are being moved, of shards that no other test of the shared cluster has.

use crate::counter::{Counters, Kind};
use crate::store::conformance::{NOW_S, TOPIC, flush, layout, part, running, segment, specs};
use crate::store::testing::{RedisBench, cluster};
use crate::store::{CounterStore, Flush, Flushed, Keys, PartitionFlush, Read, RedisStore};
use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, FromRedisValue, cmd};
use std::sync::Arc;
use tokio::sync::Mutex;

const SHARDS: u32 = 64;

/// One test at a time: each asks for all shards, the other's too.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A slot that is being moved to the next master.
struct Moving {
    slot: u16,
    ids: [String; 2],
    nodes: [MultiplexedConnection; 2],
    port: u16,
}

impl Moving {
    async fn begin(shard: u32) -> Moving {
        let cluster = cluster::shared().await;
        let mut nodes = cluster.nodes().await;
        let slot: u16 = run(&mut nodes[0], cmd("CLUSTER").arg("KEYSLOT").arg(format!("{{{shard}}}"))).await;
        let from = (0..3).find(|n| (n * 16_384 / 3..(n + 1) * 16_384 / 3).contains(&usize::from(slot))).unwrap();
        let to = (from + 1) % 3;
        let mut nodes = [nodes[from].clone(), nodes[to].clone()];
        let mut ids = [String::new(), String::new()];
        for (id, node) in ids.iter_mut().zip(&mut nodes) {
            *id = run(node, cmd("CLUSTER").arg("MYID")).await;
        }
        run::<()>(&mut nodes[1], set_slot(slot).arg("IMPORTING").arg(&ids[0])).await;
        run::<()>(&mut nodes[0], set_slot(slot).arg("MIGRATING").arg(&ids[1])).await;
        Moving { slot, ids, nodes, port: cluster.ports[to] }
    }

    async fn key(&mut self, name: &str) {
        let mut migrate = cmd("MIGRATE");
        migrate.arg("127.0.0.1").arg(self.port).arg(name).arg(0).arg(5_000);
        assert_eq!(run::<String>(&mut self.nodes[0], &migrate).await, "OK");
    }

    /// The slot is the other master's; both know, and the third will hear of it.
    async fn end(mut self) {
        for node in self.nodes.iter_mut().rev() {
            run::<()>(node, set_slot(self.slot).arg("NODE").arg(&self.ids[1])).await;
        }
    }
}

fn set_slot(slot: u16) -> Cmd {
    let mut command = cmd("CLUSTER");
    command.arg("SETSLOT").arg(slot);
    command
}

async fn run<T: FromRedisValue>(node: &mut MultiplexedConnection, command: &Cmd) -> T {
    command.query_async(node).await.unwrap()
}

fn flush_of(shard: u32, parts: Vec<PartitionFlush>) -> Flush {
    Flush { shard, ..flush(parts) }
}

async fn store() -> (RedisBench, RedisStore) {
    let bench = RedisBench::in_a_cluster(SHARDS).await;
    let store = RedisStore::new(&bench.config, Arc::new(Counters::new(specs()).unwrap())).unwrap();
    store.prepare(&layout(specs()), 0).await.unwrap();
    (bench, store)
}

#[tokio::test]
async fn a_partition_is_found_where_its_slot_is_being_moved_to_and_a_flush_of_both_sides_waits() {
    let _alone = ALONE.lock().await;
    let (bench, store) = store().await;
    let first = part(50, None, Some(segment(0, 4, &[("/a", 4)])));
    store.flush(&flush_of(50, vec![first])).await.unwrap();
    let mut moving = Moving::begin(50).await;
    moving.key(&format!("{}:{{50}}:partition:{TOPIC}:50", bench.config.prefix)).await;

    // Many at once: what follows one key to the other side must not lead another one astray.
    let looks = futures_util::future::join_all((0..20).map(|_| store.partitions(TOPIC, &[50]))).await;
    assert!(looks.into_iter().all(|found| found.unwrap()[0].as_ref().unwrap().next_offset == Some(4)));
    store.ready().await.unwrap();
    let idle = PartitionFlush { partition: 50, expected: Some(4), segment: None, condition: running() };
    assert_eq!(store.flush(&flush_of(50, vec![idle])).await.unwrap(), Flushed::Applied { cells: 0 });
    let next = flush_of(50, vec![part(50, Some(4), Some(segment(4, 6, &[("/a", 2)])))]);
    let error = store.flush(&next).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("a cluster slot is being moved"), "{error}");

    for name in ["keys", "sum"] {
        moving.key(&format!("{}:{{50}}:{name}:views:10s:{NOW_S}", bench.config.prefix)).await;
    }
    moving.end().await;
    assert!(matches!(store.flush(&next).await.unwrap(), Flushed::Applied { .. }));
    assert_eq!(store.flush(&next).await.unwrap(), Flushed::Conflict(vec![(50, Some(6))]));
    let read =
        Read { counter: "views".into(), kind: Kind::Count, window: "10s".into(), starts: vec![NOW_S], keys: Keys::All };
    assert_eq!(store.read(&read).await.unwrap()[0].keys, [("/a".to_owned(), 6)]);
}

#[tokio::test]
async fn buckets_are_read_at_once_from_where_a_slot_has_moved_to() {
    let _alone = ALONE.lock().await;
    let (_bench, store) = store().await;
    let read =
        Read { counter: "views".into(), kind: Kind::Count, window: "10s".into(), starts: vec![NOW_S], keys: Keys::All };
    assert_eq!(store.read(&read).await.unwrap()[0].total, 0);
    Moving::begin(51).await.end().await;
    // Nobody wrote there, so nothing but the read itself can tell where it is now.
    assert_eq!(store.read(&read).await.unwrap()[0].total, 0);
}
