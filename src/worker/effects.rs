//! What a handler wants done exactly once.

use redis::Cmd;
use rusqlite::Connection;
use std::fmt;

type Statements = Box<dyn FnOnce(&Connection) -> rusqlite::Result<()> + Send>;

/// Writes that an idempotent worker applies in one atomic step with the note that the event is done: either both are
/// there or neither, whenever the process dies. `()` stands for none.
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
    /// Nothing was done, for this reason.
    Skipped(&'static str),
}

impl Effects {
    /// Commands for the Redis of [`super::Idempotency::redis`]. In a cluster their keys have to be in one slot with the
    /// notes: see there.
    pub fn redis(commands: impl IntoIterator<Item = Cmd>) -> Effects {
        Effects(Kind::Redis(commands.into_iter().collect()))
    }

    /// Statements for the file of [`super::Idempotency::embedded`]. They run inside a transaction and must not begin or
    /// end one.
    pub fn sql(statements: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static) -> Effects {
        Effects(Kind::Sql(Box::new(statements)))
    }
}

impl Effects {
    /// None: the message was passed over, for this reason. It is committed, and counted as skipped.
    pub fn skipped(reason: &'static str) -> Effects {
        Effects(Kind::Skipped(reason))
    }

    /// Why the message was passed over; `None` when it was handled.
    pub fn skip_reason(&self) -> Option<&'static str> {
        match self.0 {
            Kind::Skipped(reason) => Some(reason),
            _ => None,
        }
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
            Kind::Skipped(_) => "Effects(skipped)",
        })
    }
}
