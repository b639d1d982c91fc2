use super::writer::{Job, Task, write_all};
use super::{Config, EmbeddedError, Synchronous};
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

/// "SGGE": tells our files from any other SQLite file.
const APPLICATION_ID: i64 = 0x5347_4745;
/// Format of the file as a whole; log and store change it together.
const FORMAT: i64 = 1;
/// Jobs that may wait. Beyond them callers wait to hand theirs in.
const QUEUE: usize = 1_024;
/// How long a statement waits for a lock that another program holds.
const BUSY: Duration = Duration::from_secs(5);

/// The open file. One per process; log and store share it.
pub struct EmbeddedFile {
    path: PathBuf,
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    appended: Mutex<u64>,
    wake: Condvar,
    /// Held until the writing thread has ended; the operating system gives it back however the process ends.
    lock: Mutex<Option<File>>,
}

impl EmbeddedFile {
    /// Opens or creates the file and starts its writing thread. `force_full` waits for the disk at each commit
    /// whatever the configuration says.
    ///
    /// # Errors
    /// When another process has it, it is not ours, or the folder cannot be written.
    pub fn open(config: &Config, force_full: bool) -> Result<Arc<EmbeddedFile>, EmbeddedError> {
        let path = config.path.clone();
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|source| EmbeddedError::Folder { path: folder.into(), source })?;
        let lock = lock(&path)?;
        let synchronous = if force_full { Synchronous::Full } else { config.synchronous };
        let connection = open_for_writing(&path, synchronous)?;
        let (sender, mut queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("embedded-writer".to_owned())
            .spawn(move || write_all(&connection, &mut queue))
            .map_err(|source| EmbeddedError::Folder { path: path.clone(), source })?;
        Ok(Arc::new(EmbeddedFile {
            path,
            queue: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            appended: Mutex::new(0),
            wake: Condvar::new(),
            lock: Mutex::new(Some(lock)),
        }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `job` in the writing thread and returns its result once it is committed. Many jobs share a commit; each
    /// is all or nothing. A job must not begin or end transactions.
    ///
    /// # Errors
    /// When the job failed or its commit did (a full disk): then nothing of it is written, and the next may succeed.
    pub async fn write<T, F>(&self, job: F) -> Result<T, EmbeddedError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (task, answer) = Task::new(job);
        let queue = self.queue().ok_or(EmbeddedError::Closed)?;
        queue.send(Box::new(task)).await.map_err(|_| EmbeddedError::Closed)?;
        drop(queue);
        answer.await.map_err(|_| EmbeddedError::Closed)?
    }

    /// As [`EmbeddedFile::write`], for a plain thread. Must not be called from an async task.
    ///
    /// # Errors
    /// As `write`.
    pub fn write_blocking<T, F>(&self, job: F) -> Result<T, EmbeddedError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (task, answer) = Task::new(job);
        let queue = self.queue().ok_or(EmbeddedError::Closed)?;
        queue.blocking_send(Box::new(task)).map_err(|_| EmbeddedError::Closed)?;
        drop(queue);
        answer.blocking_recv().map_err(|_| EmbeddedError::Closed)?
    }

    /// Hands a job in without waiting for it, for what may be lost; `false` when the queue is full or closed.
    pub fn try_write<F>(&self, job: F) -> bool
    where
        F: FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    {
        let (task, _) = Task::new(job);
        self.queue().is_some_and(|queue| queue.try_send(Box::new(task)).is_ok())
    }

    /// Moves what is in the WAL into the file, and empties it: what was deleted is in neither of them any more, as far as it
    /// was overwritten. It waits for readers, and who writes waits meanwhile.
    ///
    /// # Errors
    /// When a reader would not end.
    pub async fn empty_wal(&self) -> Result<(), EmbeddedError> {
        let (task, answer) = Task::new(truncate_wal);
        let queue = self.queue().ok_or(EmbeddedError::Closed)?;
        queue.send(Box::new(task.apart())).await.map_err(|_| EmbeddedError::Closed)?;
        drop(queue);
        answer.await.map_err(|_| EmbeddedError::Closed)?
    }

    /// A connection for reading. Hold no statement and no transaction on it between batches, or the WAL grows
    /// without end.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn reader(&self) -> Result<Connection, EmbeddedError> {
        open_read_only(&self.path)
    }

    /// Wakes everybody in [`EmbeddedFile::wait`]: something was appended.
    pub fn notify(&self) {
        *held(&self.appended) += 1;
        self.wake.notify_all();
    }

    /// How often [`EmbeddedFile::notify`] was called; taken before looking, it makes the next `wait` miss nothing.
    pub fn appended(&self) -> u64 {
        *held(&self.appended)
    }

    /// Blocks until [`EmbeddedFile::appended`] differs from `seen`, at most `timeout`, and returns it.
    pub fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        let guard = held(&self.appended);
        let waited = self.wake.wait_timeout_while(guard, timeout, |appended| *appended == seen);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Ends the writing thread after what was handed in is written, moves the WAL into the file, and lets others open
    /// it. Blocks. Dropping the last reference does the same; whoever still has one is told that it is closed.
    pub fn close(&self) {
        drop(held(&self.queue).take());
        let thread = held(&self.thread).take();
        // A job may hold the last reference. Then this is the writing thread itself, which ends once it is through.
        let other = thread.filter(|thread| thread.thread().id() != std::thread::current().id());
        if let Some(thread) = other
            && thread.join().is_err()
        {
            tracing::error!(path = %self.path.display(), "the embedded file's writing thread panicked");
        }
        drop(held(&self.lock).take());
        self.notify();
    }

    fn queue(&self) -> Option<mpsc::Sender<Box<dyn Job>>> {
        held(&self.queue).clone()
    }
}

impl Drop for EmbeddedFile {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for EmbeddedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// No state behind these locks can be left half-changed, so a panic elsewhere does not spoil it.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a file for reading only, even while another process has it.
///
/// # Errors
/// When it is missing or not ours.
pub fn open_read_only(path: &Path) -> Result<Connection, EmbeddedError> {
    if !path.exists() {
        return Err(EmbeddedError::Missing(path.into()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| open_error(path, e))?;
    let set_up = || {
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.set_prepared_statement_cache_capacity(32);
        identity(&connection)
    };
    match set_up().map_err(|e| open_error(path, e))? {
        (APPLICATION_ID, format) => known(path, format).map(|()| connection),
        _ => Err(EmbeddedError::NotOurs(path.into())),
    }
}

/// Bytes in use: the file's size without its free pages. For a job or a reader.
///
/// # Errors
/// When SQLite fails.
pub fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok(pages.saturating_mul(pragma("page_size")?).max(0).unsigned_abs())
}

fn truncate_wal(connection: &Connection) -> rusqlite::Result<()> {
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0))?;
    let busy = busy.then(|| rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY));
    busy.map_or(Ok(()), |busy| Err(rusqlite::Error::SqliteFailure(busy, None)))
}

fn lock(path: &Path) -> Result<File, EmbeddedError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock_path = PathBuf::from(name);
    let io = |source| EmbeddedError::Folder { path: lock_path.clone(), source };
    let mut options = File::options();
    let mut file = options.create(true).truncate(false).read(true).write(true).open(&lock_path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Who it is helps, but is not needed to refuse.
            let _ = file.take(64).read_to_string(&mut holder);
            let holder = if holder.is_empty() { "another process" } else { holder.trim() }.to_owned();
            return Err(EmbeddedError::InUse { path: path.into(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(io(source)),
    }
    file.set_len(0).and_then(|()| writeln!(file, "process {}", std::process::id())).map_err(io)?;
    Ok(file)
}

fn open_for_writing(path: &Path, synchronous: Synchronous) -> Result<Connection, EmbeddedError> {
    let failed = |e| open_error(path, e);
    let connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    match identity(&connection).map_err(failed)? {
        (APPLICATION_ID, format) => known(path, format)?,
        (0, 0) if is_empty(&connection).map_err(failed)? => {}
        _ => return Err(EmbeddedError::NotOurs(path.into())),
    }
    set_up(&connection, synchronous).map_err(failed)?;
    Ok(connection)
}

fn set_up(connection: &Connection, synchronous: Synchronous) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", synchronous.pragma())?;
    // A WAL that one long reader let grow is cut back afterwards.
    connection.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))?;
    connection.pragma_update(None, "cache_size", -8_192)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", FORMAT)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn identity(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get(0));
    Ok((pragma("application_id")?, pragma("user_version")?))
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_master", [], |row| row.get(0))
}

fn known(path: &Path, found: i64) -> Result<(), EmbeddedError> {
    if found > FORMAT {
        return Err(EmbeddedError::TooNew { path: path.into(), found, known: FORMAT });
    }
    Ok(())
}

fn open_error(path: &Path, source: rusqlite::Error) -> EmbeddedError {
    if source.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) {
        return EmbeddedError::NotOurs(path.into());
    }
    EmbeddedError::Open { path: path.into(), source }
}
