//! A Redis Cluster whose slots are moved and whose masters die, and three brokers whose leaders die.

use std::time::Duration;

use async_trait::async_trait;

use crate::chaos::round::{PARTITIONS, Round};
use crate::chaos::stage::{Services, Stage, World};
use crate::chaos::{Fault, Lane, Struck};
use crate::support::{KafkaCluster, RedisCluster, eventually};

const SOON: Duration = Duration::from_secs(10);

pub(super) fn all(world: &World) -> Vec<Box<dyn Fault + '_>> {
    let every = [What::SlotMoved, What::MasterKilled, What::MasterKilledInMove, What::LeaderKilled];
    every.into_iter().map(|what| Box::new(Member { world, what }) as Box<dyn Fault>).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    SlotMoved,
    MasterKilled,
    MasterKilledInMove,
    LeaderKilled,
}

struct Member<'w> {
    world: &'w World,
    what: What,
}

#[async_trait(?Send)]
impl Fault for Member<'_> {
    fn name(&self) -> &'static str {
        match self.what {
            What::SlotMoved => "Redis Cluster: a slot is moved",
            What::MasterKilled => "Redis Cluster: SIGKILL of a master",
            What::MasterKilledInMove => "Redis Cluster: SIGKILL of a master while a slot is moved",
            What::LeaderKilled => "three brokers: SIGKILL of a leader",
        }
    }

    fn lane(&self) -> Lane {
        if self.what == What::LeaderKilled { Lane::Kafka } else { Lane::Redis }
    }

    async fn stage(&self) -> Box<dyn Stage + '_> {
        if self.what == What::LeaderKilled {
            Box::new(Services::of_brokers(self.world.brokers().await).await)
        } else {
            Box::new(Services::in_cluster(self.world.cluster().await).await)
        }
    }

    async fn strike(&self, round: &mut Round<'_>) -> Struck {
        round.moment(0, 1_500).await;
        if self.what == What::LeaderKilled {
            return kill_leader(self.world.brokers().await, round).await;
        }
        let cluster = self.world.cluster().await;
        match self.what {
            What::MasterKilled => kill_master(cluster, round).await,
            _ => move_slot(cluster, self.what == What::MasterKilledInMove, round).await,
        }
    }
}

/// Half of a shard's keys are moved; the rest follows a while later. In between a master may die.
async fn move_slot(cluster: &RedisCluster, kill: bool, round: &mut Round<'_>) -> Struck {
    let shards = round.settings.get("store.redis.shards").and_then(toml::Value::as_integer).unwrap_or(1);
    let slot = cluster.slot_of(round.choices.below(shards as u64) as i32).await;
    let from = cluster.owner_of(slot).await;
    let to = (from + 1 + round.choices.below(2) as usize) % 3;
    let refused = refusals(cluster).await;
    cluster.begin_move(slot, to).await;
    cluster.move_half().await;
    eventually(SOON, "a script is refused, for its keys are not together", async || {
        let now = refusals(cluster).await;
        if now > refused { Ok(()) } else { Err("none is") }
    })
    .await;
    if kill {
        let number = round.choices.below(3) as usize;
        cluster.master(number).kill();
        round.moment(0, 2_000).await;
        cluster.master(number).restart().await;
        // The slot goes to its new owner once the cluster is whole again.
        return Struck { injected: 1, hit: 1 };
    }
    round.moment(500, 4_000).await;
    let hit = refusals(cluster).await - refused;
    cluster.finish_move().await;
    Struck { injected: 1, hit }
}

/// How often masters answered that keys of one request are in two places.
async fn refusals(cluster: &RedisCluster) -> u64 {
    let mut sum = 0;
    for mut node in cluster.connections().await {
        let text: String = ::redis::cmd("INFO").arg("errorstats").query_async(&mut node).await.expect("INFO");
        let count = text.lines().find_map(|line| line.strip_prefix("errorstat_TRYAGAIN:count="));
        sum += count.map_or(0, |count| count.trim().parse::<u64>().expect("a number"));
    }
    sum
}

async fn kill_master(cluster: &RedisCluster, round: &mut Round<'_>) -> Struck {
    let number = round.choices.below(3) as usize;
    cluster.master(number).kill();
    round.moment(0, 4_000).await;
    cluster.master(number).restart().await;
    Struck { injected: 1, hit: 1 }
}

async fn kill_leader(kafka: &KafkaCluster, round: &mut Round<'_>) -> Struck {
    let partition = round.choices.below(PARTITIONS.into()) as i32;
    let topic = round.settings.text_of("log.kafka.topic").to_owned();
    let leader = kafka.leader(&topic, partition).await;
    kafka.node(leader).kill();
    eventually(SOON, "another broker leads", async || {
        let now = kafka.leader(&topic, partition).await;
        if now == leader { Err("not yet") } else { Ok(()) }
    })
    .await;
    round.moment(0, 2_000).await;
    kafka.node(leader).spawn();
    Struck { injected: 1, hit: 1 }
}
