use super::EmbeddedError;
use rusqlite::{Connection, ffi};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Jobs in one commit at most: enough to share its cost, few enough that none waits long.
const GROUP: usize = 256;

/// A write that waits for its turn, then for its commit.
pub(super) trait Job: Send {
    /// Does the work. An error means that it has to be undone, and carries SQLite's code if it has one.
    fn run(&mut self, connection: &Connection) -> Result<(), Option<ffi::Error>>;
    /// Tells the caller what came of it: its own result, or why the transaction was lost.
    fn answer(self: Box<Self>, lost: Option<&Arc<rusqlite::Error>>);
    /// Replaces a result that could not be kept.
    fn failed(&mut self, error: rusqlite::Error);
    /// Whether it has to run outside of any transaction.
    fn is_apart(&self) -> bool;
}

pub(super) struct Task<T, F> {
    work: Option<F>,
    apart: bool,
    result: Option<rusqlite::Result<T>>,
    reply: oneshot::Sender<Result<T, EmbeddedError>>,
}

impl<T, F> Task<T, F> {
    pub(super) fn new(work: F) -> (Task<T, F>, oneshot::Receiver<Result<T, EmbeddedError>>) {
        let (reply, answer) = oneshot::channel();
        (Task { work: Some(work), apart: false, result: None, reply }, answer)
    }

    /// The same outside of any transaction.
    pub(super) fn apart(self) -> Self {
        Task { apart: true, ..self }
    }
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), Option<ffi::Error>> {
        self.result = self.work.take().map(|work| work(connection));
        match &self.result {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(error.sqlite_error().copied()),
            None => Err(None),
        }
    }

    fn failed(&mut self, error: rusqlite::Error) {
        self.result = Some(Err(error));
    }

    fn is_apart(&self) -> bool {
        self.apart
    }

    fn answer(self: Box<Self>, lost: Option<&Arc<rusqlite::Error>>) {
        let answer = match (self.result, lost) {
            (Some(Err(own)), _) => Err(EmbeddedError::Job(own)),
            (_, Some(lost)) => Err(EmbeddedError::Commit(Arc::clone(lost))),
            (Some(Ok(done)), None) => Ok(done),
            (None, None) => Err(EmbeddedError::Closed),
        };
        // Who no longer waits for the answer has no use for it.
        let _ = self.reply.send(answer);
    }
}

/// Runs jobs until the queue is closed and empty, then moves the WAL into the file.
pub(super) fn write_all(connection: &Connection, queue: &mut mpsc::Receiver<Box<dyn Job>>) {
    while let Some(first) = queue.blocking_recv() {
        let mut jobs = vec![first];
        while jobs.len() < GROUP
            && let Ok(next) = queue.try_recv()
        {
            jobs.push(next);
        }
        let (apart, jobs) = jobs.into_iter().partition(|job| job.is_apart());
        commit(connection, jobs);
        run_apart(connection, apart);
    }
    if let Err(error) = connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);") {
        tracing::warn!(%error, "the embedded file was closed without a checkpoint; the next start does it");
    }
}

/// Runs these jobs one after the other, outside of any transaction. What fails, each tells its own caller.
fn run_apart(connection: &Connection, jobs: Vec<Box<dyn Job>>) {
    for mut job in jobs {
        let _ = job.run(connection);
        job.answer(None);
    }
}

/// Runs the jobs in one transaction and answers them after its commit. When a job makes SQLite give the transaction
/// up (a full disk does), what ran before it is lost and told so, and the rest gets a new transaction.
fn commit(connection: &Connection, jobs: Vec<Box<dyn Job>>) {
    let mut waiting = jobs.into_iter();
    while waiting.len() > 0 {
        let mut done = Vec::with_capacity(waiting.len());
        let result = begin(connection)
            .and_then(|()| run_until_given_up(connection, &mut waiting, &mut done))
            .and_then(|()| connection.execute_batch("COMMIT"));
        let lost = result.err().map(Arc::new);
        if lost.is_some() {
            roll_back(connection);
            if done.is_empty() {
                done.extend(waiting.by_ref());
            }
        }
        done.into_iter().for_each(|job| job.answer(lost.as_ref()));
    }
}

fn begin(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")
}

fn roll_back(connection: &Connection) {
    if !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        tracing::error!(%error, "the embedded file could not roll a transaction back");
    }
}

fn run_until_given_up(
    connection: &Connection,
    waiting: &mut std::vec::IntoIter<Box<dyn Job>>,
    done: &mut Vec<Box<dyn Job>>,
) -> rusqlite::Result<()> {
    for mut job in waiting.by_ref() {
        let ran = run(connection, job.as_mut());
        done.push(job);
        ran?;
    }
    Ok(())
}

/// Runs one job inside a savepoint, so that its failure is its own. An error ends the transaction.
fn run(connection: &Connection, job: &mut dyn Job) -> rusqlite::Result<()> {
    connection.prepare_cached("SAVEPOINT job")?.execute([])?;
    let ran = job.run(connection);
    if connection.is_autocommit() {
        return Err(given_up(ran.err().flatten()));
    }
    if ran.is_err() {
        connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    if let Err(error) = connection.prepare_cached("RELEASE job")?.execute([]) {
        let code = error.sqlite_error().copied();
        job.failed(error);
        return Err(given_up(code));
    }
    Ok(())
}

/// Keeps the code of the cause, so that a full disk is a full disk to everybody concerned.
fn given_up(cause: Option<ffi::Error>) -> rusqlite::Error {
    let code = cause.unwrap_or_else(|| ffi::Error::new(ffi::SQLITE_ABORT_ROLLBACK));
    rusqlite::Error::SqliteFailure(code, Some("another write of the same transaction failed".to_owned()))
}
