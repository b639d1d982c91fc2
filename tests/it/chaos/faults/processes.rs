//! Processes of ours that are killed, frozen, and that come and go.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::chaos::round::Round;
use crate::chaos::{Fault, Struck};
use crate::support::app::Binary;
use crate::support::choices::Choices;
use crate::support::eventually;

/// A session of 3 s, what the group needs to notice that it is over, and a busy machine.
const REBALANCED: Duration = Duration::from_secs(12);

pub(super) fn all<'f>() -> Vec<Box<dyn Fault + 'f>> {
    vec![Box::new(ProcessorKilled), Box::new(IngestKilled), Box::new(Frozen), Box::new(ComeAndGo)]
}

/// How often partitions were given to it, as it says itself.
fn assignments(processor: &Binary) -> usize {
    let output = processor.output();
    output.lines().filter(|line| line.contains("partitions assigned") && !line.contains("partitions=[]")).count()
}

async fn until_assigned(processor: &Binary, more_than: usize) {
    eventually(REBALANCED, "a processor is given partitions", async || {
        if assignments(processor) > more_than { Ok(()) } else { Err(processor.output()) }
    })
    .await;
}

/// SIGKILL of a processor at any moment.
struct ProcessorKilled;

#[async_trait(?Send)]
impl Fault for ProcessorKilled {
    fn name(&self) -> &'static str {
        "SIGKILL of a processor"
    }

    async fn strike(&self, round: &mut Round<'_>) -> Struck {
        let mut struck = Struck::default();
        for _ in 0..round.choices.between(1, 3) {
            round.moment(0, 1_000).await;
            let victim = round.some_processor();
            round.kill(&victim);
            struck.injected += 1;
            struck.hit += 1;
            // Others take over, or it comes back before they could.
            round.moment(0, 3_500).await;
            round.restart(&victim).await;
        }
        struck
    }
}

/// SIGKILL of ingest at any moment.
struct IngestKilled;

#[async_trait(?Send)]
impl Fault for IngestKilled {
    fn name(&self) -> &'static str {
        "SIGKILL of ingest"
    }

    async fn strike(&self, round: &mut Round<'_>) -> Struck {
        let mut struck = Struck::default();
        let ingest = round.ingest.clone();
        for _ in 0..round.choices.between(1, 5) {
            round.moment(0, 700).await;
            round.kill(&ingest);
            struck.injected += 1;
            struck.hit += 1;
            round.moment(0, 300).await;
            round.restart(&ingest).await;
        }
        struck
    }
}

/// A processor that stands still while others take its partitions over, and then goes on.
struct Frozen;

#[async_trait(?Send)]
impl Fault for Frozen {
    fn name(&self) -> &'static str {
        "SIGSTOP of a processor past its session"
    }

    fn processors(&self, _: &mut Choices) -> u64 {
        2
    }

    async fn strike(&self, round: &mut Round<'_>) -> Struck {
        let frozen = round.some_processor();
        until_assigned(&frozen, 0).await;
        round.moment(0, 500).await;
        let others: Vec<(Arc<Binary>, usize)> = round
            .processors
            .iter()
            .filter(|other| !Arc::ptr_eq(other, &frozen))
            .map(|other| (other.clone(), assignments(other)))
            .collect();
        frozen.freeze();
        for (other, before) in others {
            until_assigned(&other, before).await;
        }
        round.moment(0, 2_000).await;
        frozen.thaw();
        round.moment(0, 1_000).await;
        Struck { injected: 1, hit: 1 }
    }
}

/// Processors that join and leave: 1, then 4, then 2.
struct ComeAndGo;

#[async_trait(?Send)]
impl Fault for ComeAndGo {
    fn name(&self) -> &'static str {
        "processors 1 → 4 → 2"
    }

    fn processors(&self, _: &mut Choices) -> u64 {
        1
    }

    async fn strike(&self, round: &mut Round<'_>) -> Struck {
        let mut struck = Struck::default();
        let mut joined = Vec::new();
        for _ in 0..3 {
            joined.push(round.join_with(&[]));
            struck.injected += 1;
            round.moment(0, 500).await;
        }
        // With two workers each there are eight members for four partitions: the first processor keeps one for each of
        // its workers, and both others may go to one of the new processors.
        eventually(REBALANCED, "one of the new processors is given partitions", async || {
            let given = joined.iter().filter(|processor| assignments(processor) > 0).count();
            if given >= 1 { Ok(()) } else { Err("none is".to_owned()) }
        })
        .await;
        struck.hit = joined.iter().filter(|processor| assignments(processor) > 0).count() as u64;
        for _ in 0..2 {
            round.moment(0, 500).await;
            let leaver = round.some_processor();
            struck.injected += 1;
            if round.choices.once_in(2) {
                round.kill(&leaver);
            } else {
                leaver.terminate();
                let code = leaver.ended(REBALANCED).await;
                assert_eq!(code, 0, "{}", leaver.output());
            }
            struck.hit += 1;
            round.leave(&leaver);
        }
        struck
    }
}
