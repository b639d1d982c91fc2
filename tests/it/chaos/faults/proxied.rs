//! Connections to Kafka and Redis that lose replies, are slow, half-open or cut.

use std::time::Duration;

use async_trait::async_trait;

use crate::chaos::round::Round;
use crate::chaos::stage::{Own, Stage, World};
use crate::chaos::{Fault, Lane, Struck};
use crate::support::eventually;
use crate::support::proxy::{Proxy, Request};

const SOON: Duration = Duration::from_secs(8);

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
    fn proxy<'o>(&self, own: &'o Own) -> &'o Proxy {
        if self.to == To::Redis { &own.redis_proxy } else { &own.kafka_proxy }
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
        Lane::Rough
    }

    async fn stage(&self) -> Box<dyn Stage + '_> {
        Box::new(self.world.own().await.proxied())
    }

    async fn strike(&self, round: &mut Round<'_>) -> Struck {
        let proxy = self.proxy(self.world.own().await);
        let before = proxy.hits();
        round.moment(0, 1_000).await;
        let injected = match self.what {
            What::LostReply => self.lose_replies(proxy, round).await,
            What::Delay => self.delay(proxy, round).await,
            What::HalfOpen => half_open(proxy, round).await,
            What::Cut => cut(proxy, round).await,
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
    /// One reply, or some in a row, a few times.
    async fn lose_replies(&self, proxy: &Proxy, round: &mut Round<'_>) -> u64 {
        let mut injected = 0;
        for _ in 0..round.choices.between(1, 3) {
            // Kafka: mostly an acknowledgement; else a fetch, a commit, a heartbeat or a question for offsets.
            let request = match self.to {
                To::Redis => Request::Script,
                To::Kafka => Request::Api(round.choices.one_of(&[0, 0, 0, 1, 2, 8, 12])),
            };
            let in_a_row = round.choices.between(1, 3);
            proxy.lose_replies(request, in_a_row);
            injected += in_a_row;
            // A question for offsets may never be asked again.
            let end = tokio::time::timeout(
                SOON / 2,
                eventually(
                    SOON,
                    "the replies are lost",
                    async || {
                        if proxy.is_losing() { Err("not yet") } else { Ok(()) }
                    },
                ),
            );
            let _ = end.await;
            round.moment(0, 1_000).await;
        }
        injected
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
