//! Whether this Redis keeps what it is given.

use super::link::Link;
use crate::store::StoreError;
use ::redis::cmd;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long a good answer holds.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// How long a bad one does: short, so that a mended Redis is taken soon.
const BAD_FOR: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Fitness {
    last: Mutex<Option<(Instant, Result<(), StoreError>)>>,
}

impl Fitness {
    /// Refuses a Redis that may evict keys. Asked again every minute.
    pub(super) async fn check(&self, link: &Link) -> Result<(), StoreError> {
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() < if answer.is_ok() { GOOD_FOR } else { BAD_FOR }
        {
            return answer.clone();
        }
        let answer = match policy(link).await? {
            Some(policy) => judge(&policy, link.place()),
            None => Err(unfit(
                link.place(),
                "neither INFO memory nor CONFIG GET tells its maxmemory-policy: allow this user one of them",
            )),
        };
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}

async fn policy(link: &Link) -> Result<Option<String>, StoreError> {
    match link.command::<String>(cmd("INFO").arg("memory")).await {
        Ok(info) => {
            if let Some(policy) = info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")) {
                return Ok(Some(policy.trim().to_owned()));
            }
        }
        Err(error) => forbidden(error)?,
    }
    match link.command::<HashMap<String, String>>(cmd("CONFIG").arg("GET").arg("maxmemory-policy")).await {
        Ok(mut config) => Ok(config.remove("maxmemory-policy")),
        Err(error) => forbidden(error).map(|()| None),
    }
}

/// A hosted Redis may forbid one of the two or not know it. Everything else is an error.
fn forbidden(error: StoreError) -> Result<(), StoreError> {
    match &error {
        StoreError::Unavailable { problem, .. } if ["NOPERM", "ERR"].iter().any(|code| problem.contains(code)) => {
            Ok(())
        }
        _ => Err(error),
    }
}

fn judge(policy: &str, place: &str) -> Result<(), StoreError> {
    if policy == "noeviction" {
        return Ok(());
    }
    let problem = format!(
        "its maxmemory-policy is {policy}, so it may throw counts away when its memory is full: set \
         `maxmemory-policy noeviction` in redis.conf, or `redis-cli CONFIG SET maxmemory-policy noeviction`"
    );
    Err(unfit(place, &problem))
}

fn unfit(place: &str, problem: &str) -> StoreError {
    StoreError::Unfit { place: place.to_owned(), problem: problem.to_owned() }
}
