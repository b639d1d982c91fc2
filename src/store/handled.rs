//! Which events a consumer group has handled, and what is done in one atomic step with the note of it.

use super::StoreError;
use async_trait::async_trait;
use redis::Cmd;
use rusqlite::Connection;
use std::fmt;

type Statements = Box<dyn FnOnce(&Connection) -> rusqlite::Result<()> + Send>;

/// Writes that are applied in one atomic step with the note that an event is handled: either both are there or neither,
/// whenever a process dies. `()` stands for none.
///
/// ```
/// use streamgauge::worker::Effects;
///
/// let paid = Effects::redis([redis::Cmd::incr("paid", 1)]);
/// let booked = Effects::sql(|file| {
///     file.execute("UPDATE accounts SET balance = balance + 1 WHERE name = ?1", ["ann"]).map(drop)
/// });
/// ```
#[derive(Default)]
pub struct Effects(pub(super) Kind);

#[derive(Default)]
pub(super) enum Kind {
    #[default]
    None,
    Redis(Vec<Cmd>),
    Sql(Statements),
}

impl Effects {
    /// Commands for the Redis that holds the notes. Their keys should begin like the notes' own where it is a cluster:
    /// all have to be in one slot.
    pub fn redis(commands: impl IntoIterator<Item = Cmd>) -> Effects {
        Effects(Kind::Redis(commands.into_iter().collect()))
    }

    /// Statements for the embedded file that holds the notes. They run inside a transaction and must not begin or end
    /// one.
    pub fn sql(statements: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static) -> Effects {
        Effects(Kind::Sql(Box::new(statements)))
    }

    /// Whether there is nothing to write.
    pub fn is_none(&self) -> bool {
        matches!(self.0, Kind::None)
    }
}

impl From<()> for Effects {
    fn from((): ()) -> Effects {
        Effects::default()
    }
}

impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::None => "Effects(none)",
            Kind::Redis(_) => "Effects(redis)",
            Kind::Sql(_) => "Effects(sql)",
        })
    }
}

/// What came of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It and the effects are there.
    Now,
    /// It was there before, from an earlier delivery: the effects were not applied again.
    Before,
    /// It says that an earlier delivery's effects were applied in part, and what was wrong with the rest is not known any
    /// more. They are not applied again.
    Partly,
}

/// Notes of handled events, kept for a horizon.
#[async_trait]
pub trait HandledEvents: Send + Sync {
    /// What is noted of this event for this group: nothing, [`Noted::Before`] or [`Noted::Partly`].
    ///
    /// # Errors
    /// When the store is away.
    async fn look(&self, group: &str, event_id: &str) -> Result<Option<Noted>, StoreError>;

    /// Notes that the group has handled the event, and applies the effects: both or neither, and once.
    ///
    /// # Errors
    /// When the store is away (then either all or nothing was done), or refuses the effects.
    async fn note(&self, group: &str, event_id: &str, effects: Effects) -> Result<Noted, StoreError>;
}
