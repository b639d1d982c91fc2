//! How much memory questions may take, all of them together: while they are read, and until their answers are sent.

use super::QueryError;
use super::buckets::MOST_CELLS;
use crate::http::Body;
use crate::store::CounterStore;
use hyper::Response;
use hyper::body::Body as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Counts that are read at a time; what comes on top waits.
const CELLS: usize = 2 * MOST_CELLS as usize;
/// KiB of answers that wait for their clients to take them.
const UNSENT_KIB: u32 = 256 * 1024;
/// An answer of less than this needs no room: as many as there may be connections are not much.
const SMALL_KIB: u32 = 64;
/// How long an answer waits for room.
const PATIENCE: Duration = Duration::from_secs(5);

/// What questions take of this process's memory.
#[derive(Debug)]
pub(super) struct Budget {
    cells: Semaphore,
    unsent: Arc<Semaphore>,
    unsent_kib: u32,
    patience: Duration,
}

/// A question whose price is known before it is answered.
pub(super) trait Priced {
    /// How many counts its answer takes to read at least, by arithmetic alone, or why that is too much.
    fn least(&self) -> Result<u64, QueryError>;

    /// How many counts its answer takes to read, or why that is too much.
    async fn price(&self, store: &dyn CounterStore) -> Result<u64, QueryError>;
}

impl Default for Budget {
    fn default() -> Budget {
        Budget::new(UNSENT_KIB, PATIENCE)
    }
}

impl Budget {
    fn new(unsent_kib: u32, patience: Duration) -> Budget {
        let unsent = Arc::new(Semaphore::new(unsent_kib as usize));
        Budget { cells: Semaphore::new(CELLS), unsent, unsent_kib, patience }
    }

    /// Waits until a question may be read, and lets it hold its counts as long as the permit lives.
    pub(super) async fn lend(
        &self,
        question: &impl Priced,
        store: &dyn CounterStore,
    ) -> Result<Option<SemaphorePermit<'_>>, QueryError> {
        let counting = self.take(question.least()?).await;
        let cells = question.price(store).await?;
        // Two questions that hold on to what they have would wait for each other.
        drop(counting);
        Ok(self.take(cells).await)
    }

    /// `None` only once the semaphore is closed, which it never is.
    async fn take(&self, cells: u64) -> Option<SemaphorePermit<'_>> {
        self.cells.acquire_many(u32::try_from(cells).unwrap_or(u32::MAX)).await.ok()
    }

    /// Finds room for an answer until its client has taken all of it, however slowly.
    pub(super) async fn keep(&self, answer: Response<Body>) -> Result<Response<Body>, QueryError> {
        let bytes = answer.body().size_hint().exact().unwrap_or(0);
        let kib = u32::try_from(bytes / 1_024).unwrap_or(u32::MAX);
        if kib < SMALL_KIB {
            return Ok(answer);
        }
        let room = Arc::clone(&self.unsent).acquire_many_owned(kib.min(self.unsent_kib));
        match timeout(self.patience, room).await {
            Ok(Ok(room)) => Ok(answer.map(|body| body.with(room))),
            Ok(Err(_)) | Err(_) => Err(QueryError::Unsent),
        }
    }

    /// Whether nothing is lent at the moment.
    #[cfg(test)]
    pub(super) fn is_whole(&self) -> bool {
        (self.cells.available_permits(), self.unsent.available_permits()) == (CELLS, self.unsent_kib as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fake::Fake;
    use futures_util::FutureExt;
    use http_body_util::BodyExt;
    use std::pin::pin;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn answer(kib: usize) -> Response<Body> {
        Response::new(Body::from(vec![7; kib * 1_024]))
    }

    /// Costs 5, which is known once the store was asked.
    struct Five(AtomicBool);

    impl Priced for Five {
        fn least(&self) -> Result<u64, QueryError> {
            Ok(1)
        }

        async fn price(&self, _: &dyn CounterStore) -> Result<u64, QueryError> {
            self.0.store(true, Ordering::Relaxed);
            Ok(5)
        }
    }

    #[tokio::test]
    async fn the_store_is_asked_for_the_price_only_when_it_is_our_turn() {
        let (budget, store, five) = (Budget::default(), Fake::default(), Five(AtomicBool::new(false)));
        let others = budget.take(CELLS as u64).await;
        let mut lent = pin!(budget.lend(&five, &store));
        assert!(lent.as_mut().now_or_never().is_none() && !five.0.load(Ordering::Relaxed));
        drop(others);
        let permit = lent.await.unwrap();
        assert_eq!((five.0.load(Ordering::Relaxed), budget.cells.available_permits()), (true, CELLS - 5));
        drop(permit);
        assert!(budget.is_whole());
    }

    #[tokio::test]
    async fn an_answer_takes_room_until_the_last_byte_of_it_is_gone() {
        let budget = Budget::new(100, Duration::from_millis(20));
        let mut taken = budget.keep(answer(70)).await.unwrap();
        // A connection holds on to what it was handed until it is written.
        let frame = taken.frame().await.unwrap().unwrap().into_data().unwrap();
        drop(taken);
        assert_eq!((frame.len(), frame[0]), (70 * 1_024, 7));
        let refused = budget.keep(answer(70)).await.unwrap_err();
        assert_eq!(refused.response().status(), 503);
        budget.keep(answer(1)).await.unwrap();
        drop(frame);
        budget.keep(answer(70)).await.unwrap();
        assert!(budget.is_whole());
    }

    #[tokio::test]
    async fn an_answer_waits_for_room_and_one_that_is_larger_than_all_takes_all() {
        let budget = Budget::new(100, Duration::from_secs(20));
        let first = budget.keep(answer(150)).await.unwrap();
        let mut second = pin!(budget.keep(answer(90)));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert_eq!(second.await.unwrap().body().size_hint().exact(), Some(90 * 1_024));
    }
}
