//! The accounts, and the outbox beside them: the state and the event that tells of it change in one transaction of one
//! file. So no event tells of something that did not happen, and nothing happens without its event.

use crate::events::MoneyTransferred;
use rusqlite::{Connection, OptionalExtension};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use streamgauge::embedded::{Config, EmbeddedError, EmbeddedFile, open_read_only};

/// What each account holds in the beginning.
pub(crate) const OPENING_CENTS: i64 = 1_000_000;
const ACCOUNTS: [&str; 12] = ["ann", "bob", "cem", "dana", "eve", "finn", "gus", "hana", "ida", "jon", "kim", "lea"];
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, cents INTEGER NOT NULL CHECK (cents >= 0));
CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT, sender TEXT, receiver TEXT,
    cents INTEGER);
";

/// A transfer that was made and is not told yet.
pub(crate) struct Untold {
    pub(crate) number: i64,
    pub(crate) event_id: String,
    pub(crate) transferred: MoneyTransferred,
}

#[derive(Clone)]
pub(crate) struct Bank(Arc<EmbeddedFile>);

impl Bank {
    pub(crate) async fn open(path: PathBuf) -> Result<Bank, EmbeddedError> {
        let file = EmbeddedFile::open(&Config { path, ..Config::default() }, false)?;
        let make = |file: &Connection| {
            file.execute_batch(TABLES)?;
            let mut open = file.prepare("INSERT OR IGNORE INTO accounts VALUES (?1, ?2)")?;
            ACCOUNTS.iter().try_for_each(|name| open.execute((name, OPENING_CENTS)).map(drop))
        };
        file.write(make).await?;
        Ok(Bank(file))
    }

    /// How many transfers there ever were.
    pub(crate) async fn made(&self) -> Result<i64, EmbeddedError> {
        let count = "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'";
        self.0.write(move |file| Ok(file.query_row(count, [], |row| row.get(0)).optional()?.unwrap_or(0))).await
    }

    /// A transfer between any two accounts, and its event: both are there afterwards, or neither.
    pub(crate) async fn transfer(&self) -> Result<(), EmbeddedError> {
        let from = rand::random_range(0..ACCOUNTS.len());
        let to = (from + rand::random_range(1..ACCOUNTS.len())) % ACCOUNTS.len();
        let (from, to, cents) = (ACCOUNTS[from], ACCOUNTS[to], rand::random_range(1..=1_000_i64));
        let event_id = uuid::Uuid::now_v7().to_string();
        let transfer = move |file: &Connection| {
            let covered = "UPDATE accounts SET cents = cents - ?2 WHERE name = ?1 AND cents >= ?2";
            if file.execute(covered, (from, cents))? == 0 {
                return Ok(());
            }
            file.execute("UPDATE accounts SET cents = cents + ?2 WHERE name = ?1", (to, cents))?;
            let tell = "INSERT INTO outbox (event_id, sender, receiver, cents) VALUES (?1, ?2, ?3, ?4)";
            file.execute(tell, (&event_id, from, to, cents)).map(drop)
        };
        self.0.write(transfer).await
    }

    /// The oldest events that are still to be published.
    pub(crate) async fn untold(&self, most: usize) -> Result<Vec<Untold>, EmbeddedError> {
        let read = move |file: &Connection| {
            let columns = "SELECT number, event_id, sender, receiver, cents FROM outbox ORDER BY number LIMIT ?1";
            let mut rows = file.prepare(columns)?;
            let untold = rows.query_map([most as i64], |row| {
                let transferred = MoneyTransferred { from: row.get(2)?, to: row.get(3)?, cents: row.get(4)? };
                Ok(Untold { number: row.get(0)?, event_id: row.get(1)?, transferred })
            })?;
            untold.collect()
        };
        self.0.write(read).await
    }

    /// Forgets events that are published.
    pub(crate) async fn told(&self, last: i64) -> Result<(), EmbeddedError> {
        self.0.write(move |file| file.execute("DELETE FROM outbox WHERE number <= ?1", [last]).map(drop)).await
    }
}

/// What the accounts hold. The bank may be open meanwhile.
pub(crate) fn accounts(path: &Path) -> anyhow::Result<BTreeMap<String, i64>> {
    let file = open_read_only(path)?;
    let mut rows = file.prepare("SELECT name, cents FROM accounts")?;
    let accounts = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(accounts.collect::<Result<_, _>>()?)
}
