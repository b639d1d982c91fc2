//! Workers in processes of their own, while things go wrong: `make workers`.
//!
//! A round publishes steps of several keys; members of one group list the number of each step they take in Redis. The
//! oracle knows which steps there are, and looks at the lists and at the dead letters: nothing is lost, each key's
//! steps were taken in their order, each exactly once where the members are idempotent.

mod begins;
mod held_up;
mod member;
mod round;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::Mutex;

use crate::support::{self, Redis};
use round::Round;

/// How many rounds are played when nothing else is said.
const SHORT: usize = 9;
/// Rounds that are played at the same time.
const LANES: usize = 3;
const ROUND: Duration = Duration::from_secs(180);

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    Some(std::env::var(name).ok()?.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

#[expect(clippy::print_stdout, reason = "people wait for it")]
fn say(line: &str) {
    println!("{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn campaign() {
    let seed = number("SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let rounds: Vec<usize> = match number("ROUND") {
        Some(one) => vec![one],
        None => (0..number("ROUNDS").unwrap_or(SHORT)).collect(),
    };
    say(&format!("workers: SEED={seed} make workers"));
    let kafka = support::kafka().await;
    // It is killed now and then: what it answered must not be gone.
    let redis = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let (url, redis) = (redis.url(), Mutex::new(&redis));
    let played = (0..LANES).map(|lane| {
        let (rounds, redis, url) = (rounds.iter().copied().filter(move |round| round % LANES == lane), &redis, &url);
        async move {
            let mut results = Vec::new();
            for number in rounds {
                results.push((number, play(Round::new(seed, number, kafka, redis, url.clone())).await));
            }
            results
        }
    });
    let mut table: BTreeMap<&'static str, [u64; 3]> = BTreeMap::new();
    let (mut failures, mut steps) = (Vec::new(), 0);
    for (number, result) in futures_util::future::join_all(played).await.into_iter().flatten() {
        match result {
            Ok(played) => {
                steps += played.steps;
                for (name, times) in played.faults {
                    let row = table.entry(name).or_default();
                    (row[0], row[1], row[2]) = (row[0] + 1, row[1] + times, row[2] + played.steps);
                }
            }
            Err(failure) => failures.push(format!("SEED={seed} ROUND={number} make workers:\n{failure}")),
        }
    }
    say("\n| fault | rounds | times | steps |\n|---|---:|---:|---:|");
    table.iter().for_each(|(name, [rounds, times, steps])| say(&format!("| {name} | {rounds} | {times} | {steps} |")));
    say(&format!("\n{} rounds, {steps} steps, {} failed", rounds.len(), failures.len()));
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

async fn play(mut round: Round<'_>) -> Result<round::Played, String> {
    let began = Instant::now();
    let number = round.number;
    let playing = tokio::time::timeout(ROUND, AssertUnwindSafe(round.play()).catch_unwind()).await;
    let result = match playing {
        Ok(Ok(played)) => Ok(played),
        Ok(Err(panic)) => Err(text_of(&*panic)),
        Err(_) => Err(format!("the round was not over after {ROUND:?}")),
    };
    let verdict = if result.is_ok() { "ok" } else { "FAILED" };
    say(&format!("round {number}: {}: {verdict}, {:.1?}", round.plan(), began.elapsed()));
    result.map_err(|failure| format!("{}\n{failure}\n{}", round.plan(), round.tails()))
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
