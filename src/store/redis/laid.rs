//! The layout in Redis: laid once, and again when somebody emptied Redis while we run.

use super::RedisStore;
use crate::store::layout::{self, Fields};
use crate::store::{Layout, StoreError};
use ::redis::cmd;
use std::sync::PoisonError;
use std::time::Instant;

/// How often another process may come between reading the layout and adding to it before we give up for now.
const ATTEMPTS: usize = 5;

/// What this store was prepared with.
#[derive(Debug, Clone)]
pub(super) struct Laid {
    layout: Layout,
    /// The time at which that was, by the caller's clock and by ours.
    now_s: i64,
    at: Instant,
}

impl RedisStore {
    pub(super) async fn stored_layout(&self) -> Result<Fields, StoreError> {
        self.link.command(cmd("HGETALL").arg(self.names.layout())).await
    }

    pub(super) async fn lay(&self, layout: &Layout, now_s: i64) -> Result<(), StoreError> {
        self.add_what_is_missing(layout, now_s).await?;
        let laid = Laid { layout: layout.clone(), now_s, at: Instant::now() };
        *self.laid.lock().unwrap_or_else(PoisonError::into_inner) = Some(laid);
        Ok(())
    }

    /// For whoever finds nothing where counts should be: if Redis was emptied, the layout is gone too, and counts
    /// without it could be mixed with those of another configuration. A store that only reads lays nothing.
    pub(super) async fn lay_again(&self) -> Result<(), StoreError> {
        let laid = self.laid.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(Laid { layout, now_s, at }) = laid else { return Ok(()) };
        let passed = i64::try_from(at.elapsed().as_secs()).unwrap_or_default();
        self.add_what_is_missing(&layout, now_s.saturating_add(passed)).await
    }

    async fn add_what_is_missing(&self, layout: &Layout, now_s: i64) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS {
            let stored = self.stored_layout().await?;
            let additions = layout::additions(&stored, layout, self.shards, now_s, &self.place)?;
            if additions.is_empty() || self.add_to_layout(&stored, &additions).await? {
                return Ok(());
            }
        }
        let problem = "other processes keep changing the layout; this passes".to_owned();
        Err(StoreError::Unavailable { place: self.place.what.clone(), problem })
    }

    /// Adds to the layout unless it changed since `stored` was read; then answers false.
    async fn add_to_layout(&self, stored: &Fields, additions: &Fields) -> Result<bool, StoreError> {
        let mut script = self.layout.call();
        script.key(self.names.layout()).arg(stored.len());
        for (name, value) in additions {
            script.arg(name).arg(value);
        }
        let added: i64 = self.link.script(&script).await?;
        Ok(added == 1)
    }
}
