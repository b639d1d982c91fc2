//! Connections to Kafka and Redis that lose replies, are slow, half-open or cut.

use std::time::Duration;

use async_trait::async_trait;

use crate::chaos::round::{Round, progress};
use crate::chaos::stage::{Stage, World};
use crate::chaos::{Fault, Lane, Struck};
use crate::support::eventually;
use crate::support::proxy::{Proxy, Request};

const SOON: Duration = Duration::from_secs(10);
/// How often to ask for the effect of a lost reply before another one is lost: for about two seconds.
const TIMES_ASKED: u32 = 40;

pub(super) fn all(world: &World) -> Vec<Box<dyn Fault + '_>> {
    let mut all: Vec<Box<dyn Fault + '_>> = Vec::new();
    for to in [To::Redis, To::Kafka] {
        for what in [What::LostReply, What::Delay, What::HalfOpen, What::Cut] {
            all.push(Box::new(Connection { world, to, what }));
        }
    }
    all
}

#[derive(Clone, Copy, PartialEq)]
enum To {
    Redis,
    Kafka,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    /// The request was applied, its reply never arrives.
    LostReply,
    Delay,
    HalfOpen,
    Cut,
}

struct Connection<'w> {
    world: &'w World,
    to: To,
    what: What,
}

impl Connection<'_> {
    async fn proxy(&self) -> &Proxy {
        if self.to == To::Redis { &self.world.redis().await.proxy } else { &self.world.kafka().await.proxy }
    }
}

#[async_trait(?Send)]
impl Fault for Connection<'_> {
    fn name(&self) -> &'static str {
        match (self.to, self.what) {
            (To::Redis, What::LostReply) => "reply of Redis lost after a flush was applied",
            (To::Redis, What::Delay) => "connections to Redis delayed",
            (To::Redis, What::HalfOpen) => "connections to Redis half-open",
            (To::Redis, What::Cut) => "connections to Redis cut",
            (To::Kafka, What::LostReply) => "reply of Kafka lost after a request was applied",
            (To::Kafka, What::Delay) => "connections to Kafka delayed",
            (To::Kafka, What::HalfOpen) => "connections to Kafka half-open",
            (To::Kafka, What::Cut) => "connections to Kafka cut",
        }
    }

    fn lane(&self) -> Lane {
        if self.to == To::Redis { Lane::Redis } else { Lane::Kafka }
    }

    async fn stage(&self) -> Box<dyn Stage + '_> {
        match self.to {
            To::Redis => Box::new(self.world.redis().await.proxied().await),
            To::Kafka => Box::new(self.world.kafka().await.proxied().await),
        }
    }

    async fn strike(&self, round: &mut Round<'_>) -> Struck {
        let proxy = self.proxy().await;
        let before = proxy.hits();
        round.moment(0, 1_000).await;
        let injected = match (self.to, self.what) {
            (To::Redis, What::LostReply) => return self.lose_flushes(proxy, round).await,
            (To::Kafka, What::LostReply) => lose_replies(proxy, round).await,
            (_, What::Delay) => self.delay(proxy, round).await,
            (_, What::HalfOpen) => half_open(proxy, round).await,
            (_, What::Cut) => cut(proxy, round).await,
        };
        proxy.normal();
        let after = proxy.hits();
        let hit = match self.what {
            What::LostReply => after.lost - before.lost,
            What::Delay => after.delayed - before.delayed,
            What::HalfOpen => after.swallowed - before.swallowed,
            What::Cut => after.cut - before.cut,
        };
        Struck { injected, hit }
    }
}

impl Connection<'_> {
    /// What was lost was applied: then the flush that is sent again meets an offset that has moved, and only then does
    /// the loss count as a hit.
    async fn lose_flushes(&self, proxy: &Proxy, round: &mut Round<'_>) -> Struck {
        let redis = &self.world.redis().await.redis;
        // From now on Redis knows the script by its hash.
        eventually(
            SOON,
            "a flush is applied",
            async || {
                if progress(redis, round).await > 0 { Ok(()) } else { Err("none is") }
            },
        )
        .await;
        let before = conflicts(round).await;
        let mut injected = 0;
        for _ in 0..round.choices.between(1, 3) {
            let in_a_row = round.choices.between(1, 3);
            proxy.lose_replies(Request::Script, in_a_row);
            injected += in_a_row;
            until_lost(proxy).await;
            round.moment(0, 500).await;
        }
        // A flush without new counts moves no offset. Then the reply of another one is lost.
        let mut asked = 0;
        eventually(SOON, "a flush is answered that it was applied before", async || {
            let now = conflicts(round).await;
            if now > before {
                return Ok(());
            }
            asked += 1;
            if asked % TIMES_ASKED == 0 {
                proxy.lose_replies(Request::Script, 1);
                injected += 1;
                until_lost(proxy).await;
            }
            Err(format!("{now} conflicts"))
        })
        .await;
        Struck { injected, hit: injected.min(conflicts(round).await - before) }
    }

    /// Redis' replies time out after 5 s: with more than that, a flush arrives after it was given up.
    async fn delay(&self, proxy: &Proxy, round: &mut Round<'_>) -> u64 {
        let most = if self.to == To::Redis { 7_000 } else { 4_000 };
        let by = round.choices.millis(20, most);
        proxy.delay(by);
        round.moment(1_000, 6_000).await;
        1
    }
}

/// How many flushes met another offset than they expected, as the processors say.
async fn conflicts(round: &Round<'_>) -> u64 {
    let mut sum = 0.0;
    for processor in &round.processors {
        sum += processor.metric("streamgauge_flush_conflicts_total").await;
    }
    sum as u64
}

async fn until_lost(proxy: &Proxy) {
    eventually(SOON, "the replies are lost", async || if proxy.is_losing() { Err("not yet") } else { Ok(()) }).await;
}

/// One reply, or some in a row, a few times: mostly an acknowledgement; else that of a fetch, a commit or a heartbeat.
async fn lose_replies(proxy: &Proxy, round: &mut Round<'_>) -> u64 {
    let mut injected = 0;
    for _ in 0..round.choices.between(1, 3) {
        let api = round.choices.one_of(&[0, 0, 0, 1, 8, 12]);
        let in_a_row = round.choices.between(1, 3);
        proxy.lose_replies(Request::Api(api), in_a_row);
        injected += in_a_row;
        until_lost(proxy).await;
        round.moment(0, 500).await;
    }
    injected
}

async fn half_open(proxy: &Proxy, round: &mut Round<'_>) -> u64 {
    proxy.half_open();
    round.moment(500, 7_000).await;
    proxy.normal();
    if round.choices.once_in(2) {
        proxy.reset_dead();
    }
    1
}

async fn cut(proxy: &Proxy, round: &mut Round<'_>) -> u64 {
    let times = round.choices.between(1, 20);
    for _ in 0..times {
        proxy.cut_all();
        round.moment(0, 300).await;
    }
    times
}
