//! What a handler is, and what can come of a message.

use super::{Effects, Message};
use std::future::Future;

/// Does what is to be done for one message. Any async function of a [`Message`] is one:
///
/// ```
/// use streamgauge::worker::{Failure, Handler, Message};
///
/// async fn print(message: Message) -> Result<(), Failure> {
///     let value = message.value().ok_or_else(|| Failure::permanent("a tombstone"))?;
///     println!("{} bytes of {:?}", value.len(), message.key());
///     Ok(())
/// }
///
/// fn takes(handler: impl Handler) {}
/// takes(print);
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Handles one message. It is committed once this was `Ok`, and handled again after anything else: after a failure
    /// that is worth a retry, and after a crash or a rebalance before the commit.
    ///
    /// `()` stands for [`Handled::Done`] without effects, and [`Effects`] for one with them.
    fn handle(&self, message: Message) -> impl Future<Output = Result<Handled, Failure>> + Send;
}

impl<F, Fut, R> Handler for F
where
    F: Fn(Message) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, Failure>> + Send,
    R: Into<Handled>,
{
    async fn handle(&self, message: Message) -> Result<Handled, Failure> {
        self(message).await.map(Into::into)
    }
}

/// What was done for a message.
#[derive(Debug)]
pub enum Handled {
    /// What was to be done. The effects are applied in one atomic step with the note that the event is handled; they
    /// need [`super::Config::idempotency`].
    Done(Effects),
    /// Nothing, for this reason: it is not for this handler. It is counted apart.
    Skipped(&'static str),
}

impl From<()> for Handled {
    fn from((): ()) -> Handled {
        Handled::Done(Effects::default())
    }
}

impl From<Effects> for Handled {
    fn from(effects: Effects) -> Handled {
        Handled::Done(effects)
    }
}

/// Why a message was not handled, which decides what is done about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It may succeed later: tried again after a while, and a dead letter after the last attempt.
    #[error("{0}")]
    Retryable(String),
    /// It will never succeed: a dead letter at once.
    #[error("{0}")]
    Permanent(String),
    /// Something that every message needs is away: the whole topic waits until it is back, and no attempt is spent.
    #[error("{0}")]
    Unavailable(String),
}

impl Failure {
    /// It may succeed later.
    pub fn retryable(reason: impl ToString) -> Failure {
        Failure::Retryable(reason.to_string())
    }

    /// It will never succeed.
    pub fn permanent(reason: impl ToString) -> Failure {
        Failure::Permanent(reason.to_string())
    }

    /// Something that every message needs is away.
    pub fn unavailable(reason: impl ToString) -> Failure {
        Failure::Unavailable(reason.to_string())
    }
}
