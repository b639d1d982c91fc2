//! One attempt to handle one message, and the burial of one that is given up.

use super::meters::{Cause, Finished};
use super::{Failure, Handled, Handler, Idempotency, Message, Shared};
use crate::clock::now_ms;
use crate::log::{self, DeadLetter, Header, LogError};
use crate::store::{Effects, Noted, StoreError};
use futures_util::FutureExt;
use std::any::Any;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::Poll;

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum Attempted {
    /// The message is done with.
    Finished(Finished),
    /// It may succeed later.
    Failed(Cause),
    /// It will never succeed.
    Hopeless(String),
    /// What every message needs is away.
    Unavailable(String),
}

impl Attempted {
    /// What kind of failure it was, if it was one.
    pub(super) fn failed(&self) -> Option<&'static str> {
        match self {
            Attempted::Finished(_) => None,
            Attempted::Failed(cause) => Some(cause.kind()),
            Attempted::Hopeless(_) => Some("permanent"),
            Attempted::Unavailable(_) => Some("unavailable"),
        }
    }
}

/// Handles a message, once if the worker is idempotent.
pub(super) async fn attempt<H: Handler>(shared: &Shared<H>, message: Message) -> Attempted {
    let attempting = async {
        match &shared.config.idempotency {
            None => each_time(shared, message).await,
            // Apart, so that an attempt without notes is small: one is made for every message.
            Some(idempotency) => Box::pin(once(shared, idempotency, message)).await,
        }
    };
    // Whatever a handler leaves half-done when it panics is its own, as it is when its process dies.
    match AssertUnwindSafe(attempting).catch_unwind().await {
        Ok(attempted) => attempted.unwrap_or_else(|attempted| attempted),
        Err(panic) => Attempted::Failed(Cause::Panicked(said(&*panic))),
    }
}

async fn each_time<H: Handler>(shared: &Shared<H>, message: Message) -> Result<Attempted, Attempted> {
    Ok(match handled(shared, message).await? {
        Handled::Done(effects) if !effects.is_none() => {
            Attempted::Hopeless("the handler returned effects: set Config::idempotency, which applies them".into())
        }
        Handled::Done(_) => Attempted::Finished(Finished::Handled),
        Handled::Skipped(reason) => skipped(shared, reason),
    })
}

async fn once<H: Handler>(
    shared: &Shared<H>,
    idempotency: &Idempotency,
    message: Message,
) -> Result<Attempted, Attempted> {
    let (id, group) = (idempotency.id(&message), shared.log.group());
    let notes = idempotency.notes();
    if let Some(noted) = notes.look(group, &id).await.map_err(without_notes)? {
        return Ok(finished(noted));
    }
    let effects: Effects = match handled(shared, message).await? {
        Handled::Done(effects) => effects,
        Handled::Skipped(reason) => return Ok(skipped(shared, reason)),
    };
    fail::fail_point!("worker-handled", |_| std::process::abort());
    let noted = notes.note(group, &id, effects).await.map_err(without_notes)?;
    fail::fail_point!("worker-noted", |_| std::process::abort());
    Ok(finished(noted))
}

fn finished(noted: Noted) -> Attempted {
    match noted {
        Noted::Now => Attempted::Finished(Finished::Handled),
        Noted::Before => Attempted::Finished(Finished::Duplicate),
        Noted::Partly => Attempted::Hopeless("an earlier attempt's effects were applied in part".to_owned()),
    }
}

/// Only the handler's own time is limited: the store of the notes has limits of its own, and one that hangs is away.
async fn handled<H: Handler>(shared: &Shared<H>, message: Message) -> Result<Handled, Attempted> {
    let mut handling = pin!(shared.handler.handle(message));
    // Most handlers that have nothing to wait for end with their first poll: they need no timer.
    let ended = match poll_fn(|context| Poll::Ready(handling.as_mut().poll(context))).await {
        Poll::Ready(ended) => ended,
        Poll::Pending => {
            let limit = shared.config.handler_timeout;
            let late = |_| Attempted::Failed(Cause::TimedOut(limit));
            // Boxed, so that an attempt is small: one is made for every message, and few come here.
            Box::pin(tokio::time::timeout(limit, handling)).await.map_err(late)?
        }
    };
    ended.map_err(|failure| match failure {
        Failure::Unavailable(reason) => Attempted::Unavailable(reason),
        Failure::Permanent(reason) => Attempted::Hopeless(reason),
        failure @ Failure::Retryable(_) => Attempted::Failed(Cause::Handler(failure)),
    })
}

fn skipped<H>(shared: &Shared<H>, reason: &str) -> Attempted {
    tracing::debug!(group = shared.log.group(), reason, "skipped");
    Attempted::Finished(Finished::Skipped)
}

fn without_notes(error: StoreError) -> Attempted {
    if error.is_retryable() {
        Attempted::Unavailable(error.to_string())
    } else if let StoreError::Effects { is_partly: true, .. } = error {
        Attempted::Hopeless(error.to_string())
    } else {
        Attempted::Failed(Cause::Handler(Failure::Retryable(error.to_string())))
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}

/// Keeps a message that is given up as a dead letter, as often as it takes.
pub(super) async fn bury<H>(shared: &Shared<H>, message: &Message, attempts: u32, reason: &str) {
    let letter = DeadLetter {
        partition: message.partition(),
        offset: message.offset(),
        time_ms: message.time_ms(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.value().map(<[u8]>::to_vec),
        headers: message.headers().map(|(name, value)| Header::copied(name, value)).collect(),
        error: reason.to_owned(),
        attempts,
        failed_at_ms: now_ms(),
    };
    let failed = |attempt, error: &LogError| shared.meters.not_buried(message, attempt, error);
    log::bury(&*shared.log, &[letter], failed).await;
    fail::fail_point!("worker-buried", |_| std::process::abort());
    shared.meters.buried(message, attempts, reason);
}
