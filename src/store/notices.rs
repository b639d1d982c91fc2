//! What processes that share a store say to each other, as long as somebody listens. Nothing that counts.

use super::StoreError;
use async_trait::async_trait;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a call holds that is not repeated.
pub(super) const CALL: Duration = Duration::from_secs(6);
/// Notices that are kept for those who read later; the latest.
pub(super) const KEPT: usize = 120;

/// Short notices from any process that shares the store to any other. They are kept for a short time, and lost with the
/// store.
#[async_trait]
pub trait Notices: Send + Sync {
    /// Calls for notices, for some seconds. By its text a call is told from others: to a new one, publishers say all that
    /// they still know.
    ///
    /// # Errors
    /// When the store is away.
    async fn call(&self, call: &str) -> Result<(), StoreError>;

    /// Repeats whatever call there is; false when there is none any more.
    ///
    /// # Errors
    /// When the store is away.
    async fn call_again(&self) -> Result<bool, StoreError>;

    /// The call that holds, if one does.
    ///
    /// # Errors
    /// When the store is away.
    async fn called(&self) -> Result<Option<String>, StoreError>;

    /// Publishes notices, in this order.
    ///
    /// # Errors
    /// When the store is away.
    async fn publish(&self, notices: &[String]) -> Result<(), StoreError>;

    /// Notices behind a position, which is moved to the last of them; without one, all that are kept.
    ///
    /// # Errors
    /// When the store is away.
    async fn read(&self, position: &mut Option<String>) -> Result<Vec<String>, StoreError>;
}

/// Notices within one process.
#[derive(Debug, Default)]
pub struct LocalNotices(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    call: Option<(String, Instant)>,
    kept: VecDeque<String>,
    /// How many there ever were.
    published: u64,
}

impl LocalNotices {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The call that holds, and may be repeated.
    fn call(&mut self) -> Option<&mut (String, Instant)> {
        self.call.as_mut().filter(|(_, until)| *until > Instant::now())
    }
}

#[async_trait]
impl Notices for LocalNotices {
    async fn call(&self, call: &str) -> Result<(), StoreError> {
        self.state().call = Some((call.to_owned(), Instant::now() + CALL));
        Ok(())
    }

    async fn call_again(&self) -> Result<bool, StoreError> {
        Ok(self.state().call().map(|(_, until)| *until = Instant::now() + CALL).is_some())
    }

    async fn called(&self) -> Result<Option<String>, StoreError> {
        Ok(self.state().call().map(|(call, _)| call.clone()))
    }

    async fn publish(&self, notices: &[String]) -> Result<(), StoreError> {
        let mut state = self.state();
        state.kept.extend(notices.iter().cloned());
        state.published += notices.len() as u64;
        let too_many = state.kept.len().saturating_sub(KEPT);
        state.kept.drain(..too_many);
        Ok(())
    }

    async fn read(&self, position: &mut Option<String>) -> Result<Vec<String>, StoreError> {
        let state = self.state();
        let seen = position.as_deref().and_then(|position| position.parse().ok()).unwrap_or(0);
        // As many as were published behind the position, as far as they are kept.
        let new = usize::try_from(state.published.saturating_sub(seen)).unwrap_or(usize::MAX).min(state.kept.len());
        *position = Some(state.published.to_string());
        Ok(state.kept.iter().skip(state.kept.len() - new).cloned().collect())
    }
}
