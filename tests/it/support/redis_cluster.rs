//! A real Redis Cluster: three masters without replicas, each with an append-only file.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, Value, cmd};

use super::{Redis, eventually, free_ports};

const MASTERS: usize = 3;
const SLOTS: usize = 16_384;
/// After how long without an answer the others call a master failed.
const NODE_TIMEOUT_MS: &str = "1000";
/// A master that comes back is trusted after a few node time-outs; the rest is for a busy machine.
const SETTLED: Duration = Duration::from_secs(60);
/// How many keys are moved at a time.
const CHUNK: usize = 100;

pub(crate) struct RedisCluster {
    masters: Vec<Redis>,
    moving: Mutex<Option<Move>>,
}

impl RedisCluster {
    /// A new, empty cluster that answers for all slots.
    pub(crate) async fn start() -> RedisCluster {
        let mut masters = Vec::new();
        for _ in 0..MASTERS {
            let [bus] = free_ports();
            let bus = bus.to_string();
            let mut options = vec!["--cluster-enabled", "yes", "--cluster-port", &bus];
            options.extend(["--cluster-node-timeout", NODE_TIMEOUT_MS, "--maxmemory-policy", "noeviction"]);
            options.extend(["--appendonly", "yes", "--appendfsync", "everysec"]);
            masters.push((Redis::start_with(&options).await, bus));
        }
        for (number, (master, _)) in masters.iter().enumerate() {
            let (first, end) = (number * SLOTS / MASTERS, (number + 1) * SLOTS / MASTERS);
            run::<()>(master, cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(first).arg(end - 1)).await;
            run::<()>(master, cmd("CLUSTER").arg("SET-CONFIG-EPOCH").arg(number + 1)).await;
        }
        for (master, bus) in &masters[1..] {
            run::<()>(&masters[0].0, cmd("CLUSTER").arg("MEET").arg("127.0.0.1").arg(master.port()).arg(bus)).await;
        }
        let cluster =
            RedisCluster { masters: masters.into_iter().map(|(master, _)| master).collect(), moving: Mutex::default() };
        cluster.until_settled().await;
        cluster
    }

    /// Its first node.
    pub(crate) fn url(&self) -> String {
        self.masters[0].url()
    }

    /// `host:port` of the others.
    pub(crate) fn other_nodes(&self) -> Vec<String> {
        self.masters[1..].iter().map(|master| format!("127.0.0.1:{}", master.port())).collect()
    }

    /// A connection to each master.
    pub(crate) async fn connections(&self) -> Vec<MultiplexedConnection> {
        let mut connections = Vec::new();
        for master in &self.masters {
            connections.push(master.connection().await);
        }
        connections
    }

    /// One of its masters, by its number.
    pub(crate) fn master(&self, number: usize) -> &Redis {
        &self.masters[number]
    }

    /// Waits until every master knows of every other and of an owner for each slot.
    pub(crate) async fn until_settled(&self) {
        eventually(SETTLED, "the cluster is whole", async || {
            for (number, mut node) in self.connections().await.into_iter().enumerate() {
                let info: String =
                    cmd("CLUSTER").arg("INFO").query_async(&mut node).await.map_err(|error| error.to_string())?;
                let says = |line: String| info.lines().any(|found| found == line);
                let whole = says("cluster_state:ok".to_owned()) && says(format!("cluster_slots_ok:{SLOTS}"));
                if !whole || !says(format!("cluster_known_nodes:{MASTERS}")) {
                    return Err(format!("master {number}: {info}"));
                }
            }
            Ok(())
        })
        .await;
    }

    /// The slot of all keys of a shard.
    pub(crate) async fn slot_of(&self, shard: i32) -> u16 {
        run(&self.masters[0], cmd("CLUSTER").arg("KEYSLOT").arg(format!("{{{shard}}}"))).await
    }

    /// Which master has a slot.
    pub(crate) async fn owner_of(&self, slot: u16) -> usize {
        for (number, master) in self.masters.iter().enumerate() {
            let ranges: Vec<(u16, u16, Vec<Value>)> = run(master, cmd("CLUSTER").arg("SLOTS")).await;
            let range = ranges.into_iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
            let (_, _, owner) = range.unwrap_or_else(|| panic!("master {number} knows no owner of slot {slot}"));
            let port: u16 = redis::from_redis_value(owner[1].clone()).expect("a port");
            if port == master.port() {
                return number;
            }
        }
        panic!("nobody has slot {slot}")
    }

    /// How many keys a master has of a slot.
    pub(crate) async fn keys_in(&self, slot: u16, master: usize) -> usize {
        run(&self.masters[master], cmd("CLUSTER").arg("COUNTKEYSINSLOT").arg(slot)).await
    }

    /// Opens a slot for being moved: its owner has what it has, and everything new belongs to the other master.
    pub(crate) async fn begin_move(&self, slot: u16, to: usize) {
        let from = self.owner_of(slot).await;
        assert_ne!(from, to, "it is there");
        let (source, target) = (&self.masters[from], &self.masters[to]);
        let before = self.moving().replace(Move { slot, from, to });
        assert_eq!(before, None, "one at a time");
        run::<()>(target, set_slot(slot).arg("IMPORTING").arg(id(source).await)).await;
        run::<()>(source, set_slot(slot).arg("MIGRATING").arg(id(target).await)).await;
    }

    /// Moves half of the keys that are still there.
    pub(crate) async fn move_half(&self) {
        let Move { slot, from, .. } = self.moving().expect("a slot that is being moved");
        let half = self.keys_in(slot, from).await.div_ceil(2);
        self.move_keys(half).await;
    }

    /// Moves what is left, and gives the slot to its new owner.
    pub(crate) async fn finish_move(&self) {
        let Move { slot, to, .. } = self.moving().expect("a slot that is being moved");
        while self.move_keys(CHUNK).await > 0 {}
        let id = id(&self.masters[to]).await;
        // The new owner first: it must not send clients back to one that no longer wants them.
        run::<()>(&self.masters[to], set_slot(slot).arg("NODE").arg(&id)).await;
        for master in &self.masters {
            run::<()>(master, set_slot(slot).arg("NODE").arg(&id)).await;
        }
        *self.moving() = None;
    }

    /// Brings back who was killed, and finishes what was begun.
    pub(crate) async fn heal(&self) {
        for master in &self.masters {
            if !master.is_running() {
                master.restart().await;
            }
        }
        self.until_settled().await;
        if self.moving().is_some() {
            self.finish_move().await;
            self.until_settled().await;
        }
    }

    async fn move_keys(&self, most: usize) -> usize {
        let Move { slot, from, to } = self.moving().expect("a slot that is being moved");
        let (source, target) = (&self.masters[from], &self.masters[to]);
        let mut moved = 0;
        while moved < most {
            let some = CHUNK.min(most - moved);
            let keys: Vec<String> = run(source, cmd("CLUSTER").arg("GETKEYSINSLOT").arg(slot).arg(some)).await;
            if keys.is_empty() {
                break;
            }
            let mut migrate = cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(target.port()).arg("").arg(0).arg(5_000).arg("KEYS").arg(&keys);
            // It may be that all of them expired meanwhile.
            let _: String = run(source, &migrate).await;
            moved += keys.len();
        }
        moved
    }

    fn moving(&self) -> MutexGuard<'_, Option<Move>> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot that is being moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    slot: u16,
    from: usize,
    to: usize,
}

fn set_slot(slot: u16) -> Cmd {
    let mut command = cmd("CLUSTER");
    command.arg("SETSLOT").arg(slot);
    command
}

async fn id(master: &Redis) -> String {
    run(master, cmd("CLUSTER").arg("MYID")).await
}

/// What a master answers; it must.
async fn run<T: FromRedisValue>(master: &Redis, command: &Cmd) -> T {
    let answer = command.query_async(&mut master.connection().await).await;
    answer.unwrap_or_else(|error| panic!("{:?}: {error}", String::from_utf8_lossy(&command.get_packed_command())))
}
