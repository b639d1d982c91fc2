use super::{Config, EmbeddedError, EmbeddedFile, open_read_only, used_bytes};
use rusqlite::Connection;
use std::sync::Arc;
use std::time::Duration;

fn opened(folder: &tempfile::TempDir) -> Arc<EmbeddedFile> {
    EmbeddedFile::open(&config(folder), false).unwrap()
}

fn config(folder: &tempfile::TempDir) -> Config {
    Config { path: folder.path().join("deep/er/x.db"), ..Config::default() }
}

fn numbers(file: &EmbeddedFile) -> Vec<i64> {
    let reader = file.reader().unwrap();
    let mut select = reader.prepare("SELECT n FROM t ORDER BY n").unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

async fn with_table(folder: &tempfile::TempDir) -> Arc<EmbeddedFile> {
    let file = opened(folder);
    file.write(|c| c.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY)")).await.unwrap();
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_job_does_not_take_its_neighbours_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = with_table(&folder).await;
    let jobs = (0..600_i64).map(|n| {
        let file = Arc::clone(&file);
        tokio::spawn(async move {
            file.write(move |c| {
                c.execute("INSERT INTO t VALUES (?)", [n])?;
                // The second insert fails for every third job, and takes the first one back.
                if n % 3 == 0 { c.execute("INSERT INTO t VALUES (?)", [n]) } else { Ok(1) }
            })
            .await
        })
    });
    for (n, job) in jobs.collect::<Vec<_>>().into_iter().enumerate() {
        let result = job.await.unwrap();
        assert_eq!(result.is_err(), n % 3 == 0, "{result:?}");
    }
    assert_eq!(numbers(&file), (0..600).filter(|n| n % 3 != 0).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_disk_fails_the_jobs_and_the_thread_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = with_table(&folder).await;
    file.write(|c| {
        c.execute_batch("CREATE TABLE big (b BLOB)")?;
        c.pragma_update_and_check(None, "max_page_count", 20, |_| Ok(()))
    })
    .await
    .unwrap();
    let big = |c: &Connection| c.execute("INSERT INTO big VALUES (zeroblob(1000000))", []);
    let (before, full, after) = tokio::join!(
        file.write(|c| c.execute("INSERT INTO t VALUES (1)", [])),
        file.write(big),
        file.write(|c| c.execute("INSERT INTO t VALUES (2)", [])),
    );
    let error = full.unwrap_err();
    assert!(error.is_disk_full() && error.to_string().contains("make room"), "{error}");
    let kept: Vec<i64> = [(1, before), (2, after)].into_iter().filter(|(_, r)| r.is_ok()).map(|(n, _)| n).collect();
    assert_eq!(numbers(&file), kept, "what was confirmed is there, and nothing else");
    file.write(|c| c.execute("INSERT INTO t VALUES (3)", [])).await.unwrap();
    assert!(numbers(&file).contains(&3));
}

#[tokio::test]
async fn a_transaction_that_is_gone_is_told_to_all_that_were_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = with_table(&folder).await;
    let (first, second, third) = tokio::join!(
        file.write(|c| c.execute("INSERT INTO t VALUES (1)", [])),
        // What SQLite does by itself when it gives up.
        file.write(|c| c.execute_batch("ROLLBACK").and(Err::<(), _>(rusqlite::Error::InvalidQuery))),
        file.write(|c| c.execute("INSERT INTO t VALUES (3)", [])),
    );
    assert!(second.is_err());
    let kept: Vec<i64> = [(1, first), (3, third)].into_iter().filter(|(_, r)| r.is_ok()).map(|(n, _)| n).collect();
    assert_eq!(numbers(&file), kept);
    assert!(kept.contains(&3), "what came after it got a new transaction");
}

#[tokio::test]
async fn a_second_opener_learns_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = opened(&folder);
    let error = EmbeddedFile::open(&config(&folder), false).unwrap_err().to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    assert!(error.contains("another embedded.path"), "{error}");
    open_read_only(file.path()).unwrap();
    drop(file);
    opened(&folder);
}

#[tokio::test]
async fn closing_writes_what_was_handed_in_and_refuses_what_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let file = with_table(&folder).await;
    assert!((0..100_i64).all(|n| file.try_write(move |c| c.execute("INSERT INTO t VALUES (?)", [n]).map(drop))));
    file.close();
    assert_eq!(numbers(&file).len(), 100);
    assert!(matches!(file.write(|_| Ok(())).await, Err(EmbeddedError::Closed)));
    let wal = folder.path().join("deep/er/x.db-wal");
    assert_eq!(wal.metadata().map_or(0, |m| m.len()), 0, "the WAL is in the file");
    drop(file);
    assert_eq!(numbers(&opened(&folder)).len(), 100);
}

#[tokio::test]
async fn a_job_may_hold_the_last_reference() {
    let folder = tempfile::tempdir().unwrap();
    let file = with_table(&folder).await;
    let (held, (dropped, gate)) = (Arc::clone(&file), std::sync::mpsc::sync_channel::<()>(1));
    assert!(file.try_write(move |c| {
        // Until the test has let go of its own.
        let _ = gate.recv();
        let done = c.execute("INSERT INTO t VALUES (7)", []);
        drop(held);
        done.map(drop)
    }));
    drop(file);
    dropped.send(()).unwrap();
    let mut opened = EmbeddedFile::open(&config(&folder), false);
    while opened.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
        opened = EmbeddedFile::open(&config(&folder), false);
    }
    assert_eq!(numbers(&opened.unwrap()), [7]);
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { path: folder.path().join("x.db"), ..Config::default() };
    assert!(matches!(open_read_only(&config.path), Err(EmbeddedError::Missing(_))));
    std::fs::write(&config.path, "something else entirely, and long enough to be taken for a database header.....")
        .unwrap();
    assert!(matches!(EmbeddedFile::open(&config, false), Err(EmbeddedError::NotOurs(_))));
    std::fs::remove_file(&config.path).unwrap();
    Connection::open(&config.path).unwrap().execute_batch("CREATE TABLE theirs (n)").unwrap();
    assert!(matches!(EmbeddedFile::open(&config, false), Err(EmbeddedError::NotOurs(_))));
    assert!(matches!(open_read_only(&config.path), Err(EmbeddedError::NotOurs(_))));
}

#[test]
fn whoever_waits_is_woken_by_an_append() {
    let folder = tempfile::tempdir().unwrap();
    let file = opened(&folder);
    let seen = file.appended();
    assert_eq!(file.wait(seen, Duration::from_millis(5)), seen);
    let other = Arc::clone(&file);
    let waiting = std::thread::spawn(move || other.wait(seen, Duration::from_secs(20)));
    file.notify();
    assert_eq!(waiting.join().unwrap(), seen + 1);
    assert_eq!(file.wait(seen, Duration::from_secs(20)), seen + 1, "a wake-up before the wait is not lost");
}

#[tokio::test]
async fn full_is_forced_where_the_log_alone_holds_the_events() {
    let folder = tempfile::tempdir().unwrap();
    for (force, expected) in [(false, 1), (true, 2)] {
        let file = EmbeddedFile::open(&config(&folder), force).unwrap();
        let set = file.write(|c| c.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0))).await.unwrap();
        assert_eq!(set, expected);
        assert!(used_bytes(&file.reader().unwrap()).unwrap() > 0);
    }
}
