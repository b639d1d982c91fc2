//! Whether this Redis keeps what it is given.

use super::connection::FromMasters;
use super::link::Link;
use crate::store::StoreError;
use ::redis::cmd;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long a good answer holds.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// How long a bad one does: short, so that a mended Redis is taken soon. And one that not all masters gave: a master
/// that comes back may not be what it was.
const BAD_FOR: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Fitness {
    /// The answer, and until when it holds.
    last: Mutex<Option<(Instant, Result<(), StoreError>)>>,
}

impl Fitness {
    /// Refuses a Redis that may evict keys. Asked again every minute.
    pub(super) async fn check(&self, link: &Link) -> Result<(), StoreError> {
        let mut last = self.last.lock().await;
        if let Some((until, answer)) = &*last
            && Instant::now() < *until
        {
            return answer.clone();
        }
        let policies = policies(link).await?;
        let answer = policies.answers.iter().try_for_each(|(node, policy)| judge(policy.as_deref(), node, link));
        let holds = if answer.is_ok() && policies.all { GOOD_FOR } else { BAD_FOR };
        *last = Some((Instant::now() + holds, answer.clone()));
        answer
    }
}

async fn policies(link: &Link) -> Result<FromMasters<Option<String>>, StoreError> {
    match link.each_master::<String>(cmd("INFO").arg("memory")).await {
        Ok(infos) => {
            let policies = infos.map(|info| {
                let policy = info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"));
                policy.map(|policy| policy.trim().to_owned())
            });
            if policies.answers.iter().all(|(_, policy)| policy.is_some()) {
                return Ok(policies);
            }
        }
        Err(error) => forbidden(error)?,
    }
    match link.each_master::<HashMap<String, String>>(cmd("CONFIG").arg("GET").arg("maxmemory-policy")).await {
        Ok(configs) => Ok(configs.map(|mut config| config.remove("maxmemory-policy"))),
        Err(error) => forbidden(error).map(|()| FromMasters { answers: vec![(None, None)], all: true }),
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

fn judge(policy: Option<&str>, node: &Option<String>, link: &Link) -> Result<(), StoreError> {
    let place = match node {
        Some(node) => format!("{node} of {}", link.place()),
        None => link.place().to_owned(),
    };
    let problem = match policy {
        Some("noeviction") => return Ok(()),
        Some(policy) => format!(
            "its maxmemory-policy is {policy}, so it may throw away what it is to keep when its memory is full: set \
             `maxmemory-policy noeviction` in redis.conf, or `redis-cli CONFIG SET maxmemory-policy noeviction`"
        ),
        None => "neither INFO memory nor CONFIG GET tells its maxmemory-policy: allow this user one of them".to_owned(),
    };
    Err(StoreError::Unfit { place, problem })
}
