//! Death between two steps of the program, where its code names them.

use std::time::Duration;

use async_trait::async_trait;

use crate::chaos::round::Round;
use crate::chaos::{Fault, Struck};
use crate::support::choices::Choices;

/// How long until the step has come often enough.
const DIES: Duration = Duration::from_secs(12);
/// What `abort` ends a process by: no drop, no drain, like a SIGKILL.
const ABORTED: i32 = nix::sys::signal::Signal::SIGABRT as i32;

pub(super) fn all<'f>() -> Vec<Box<dyn Fault + 'f>> {
    let at = |name, step, most, in_ingest| Box::new(DiesAt { name, step, most, in_ingest }) as Box<dyn Fault>;
    vec![
        at("death after records were polled", "polled", 60, false),
        at("death after a batch was merged", "merged", 60, false),
        at("death before a flush is sent", "flush-send", 8, false),
        at("death between the store's reply and its reader", "flush-replied", 8, false),
        at("death before dead letters are stored", "letters-send", 3, false),
        at("death after dead letters were stored", "letters-stored", 3, false),
        at("death before events are appended", "append", 200, true),
        at("death between the log's acknowledgement and the answer", "appended", 200, true),
    ]
}

struct DiesAt {
    name: &'static str,
    step: &'static str,
    /// How often at most the step is passed before.
    most: u64,
    in_ingest: bool,
}

#[async_trait(?Send)]
impl Fault for DiesAt {
    fn name(&self) -> &'static str {
        self.name
    }

    fn unavailable(&self) -> Option<String> {
        let built = cfg!(feature = "failpoints");
        (!built).then(|| "built without the feature `failpoints`".to_owned())
    }

    /// Few, so that the one that is to die has partitions.
    fn processors(&self, _: &mut Choices) -> u64 {
        1
    }

    async fn strike(&self, round: &mut Round<'_>) -> Struck {
        round.moment(0, 500).await;
        let passes = round.choices.below(self.most + 1);
        let points = format!("{}={passes}*off->return", self.step);
        let environment = [("FAILPOINTS", points.as_str())];
        let victim = if self.in_ingest {
            let ingest = round.ingest.clone();
            ingest.spawn_with(&environment);
            ingest
        } else if round.choices.once_in(2) {
            let only = round.some_processor();
            only.spawn_with(&environment);
            only
        } else {
            round.join_with(&environment)
        };
        round.expect_end(&victim);
        let signal = victim.died(DIES).await;
        assert_eq!(signal, ABORTED, "{}", victim.output());
        Struck { injected: 1, hit: 1 }
    }
}
