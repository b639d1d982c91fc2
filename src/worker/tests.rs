//! A whole worker on an embedded log: what comes of messages that succeed, fail, hang, panic and come twice.

use super::*;
use crate::embedded::{Config as FileConfig, EmbeddedFile};
use crate::log::{EmbeddedLog, NewRecord};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(20);

struct World {
    _folder: tempfile::TempDir,
    file: Arc<EmbeddedFile>,
    log: EmbeddedLog,
    metrics: Arc<Metrics>,
    /// What was handled: offsets, in the order in which their handlers ended.
    handled: Arc<Mutex<Vec<i64>>>,
}

struct Running {
    shutdown: Shutdown,
    worker: JoinHandle<Result<(), WorkerError>>,
}

impl Running {
    async fn stop(self) {
        self.shutdown.begin();
        tokio::time::timeout(SOON, self.worker).await.expect("it stops").unwrap().unwrap();
    }
}

fn quick() -> Config {
    let backoff = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(20) };
    Config { backoff, probe: backoff, commit_interval: Duration::from_millis(10), ..Config::default() }
}

impl World {
    async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let config = FileConfig { path: folder.path().join("orders.db"), ..FileConfig::default() };
        let (file, metrics) = (EmbeddedFile::open(&config, false).unwrap(), Arc::new(Metrics::new().unwrap()));
        let log = EmbeddedLog::open(file.clone(), &config, ("orders", "payment"), metrics.clone()).await.unwrap();
        World { _folder: folder, file, log, metrics, handled: Arc::default() }
    }

    /// Appends messages with these keys; the value is the event, whose id is its number.
    async fn publish(&self, keys: &[&str]) {
        let record = |(number, key): (usize, &&str)| NewRecord {
            key: Some(key.as_bytes().to_vec()),
            value: Some(format!("{{\"type\":\"order\",\"id\":\"o{number}\"}}").into_bytes()),
            headers: Vec::new(),
        };
        self.log.append(keys.iter().enumerate().map(record).collect()).await.unwrap();
    }

    fn start<F, Fut, R>(&self, config: Config, handler: F) -> Running
    where
        F: Fn(Message) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Failure>> + Send + 'static,
        R: Into<Handled>,
    {
        let handled = self.handled.clone();
        let noting = move |message: Message| {
            let (offset, handled, handling) = (message.offset(), handled.clone(), handler(message));
            async move {
                let result = handling.await.map(Into::<Handled>::into);
                if result.is_ok() {
                    handled.lock().unwrap().push(offset);
                }
                result
            }
        };
        let worker = Worker::new(Arc::new(self.log.clone()), config, self.metrics.clone(), noting).unwrap();
        let shutdown = Shutdown::new();
        Running { worker: tokio::spawn(worker.run(shutdown.clone())), shutdown }
    }

    fn finished(&self, result: &str) -> u64 {
        self.metrics.worker_events_total.with_label_values(&["payment", result]).get()
    }

    fn open_breakers(&self) -> i64 {
        self.metrics.worker_breaker_open.with_label_values(&["payment"]).get()
    }

    fn failed(&self, kind: &str) -> u64 {
        self.metrics.worker_failures_total.with_label_values(&["payment", kind]).get()
    }

    async fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < SOON, "{what}; handled: {:?}", self.handled.lock().unwrap());
            tokio::task::yield_now().await;
        }
    }

    async fn until_finished(&self, result: &str, count: u64) {
        self.until(&format!("{count} are {result}"), || self.finished(result) >= count).await;
    }

    async fn committed(&self) -> i64 {
        let consumer = self.log.consumer().unwrap();
        tokio::task::spawn_blocking(move || consumer.extents(&[0]).unwrap()[0].committed).await.unwrap().unwrap_or(0)
    }

    async fn letters(&self) -> Vec<(i64, u32, String)> {
        let query = "SELECT original_offset, attempts, error FROM dead_letters ORDER BY 1";
        let letters = self.file.write(move |connection| {
            let mut statement = connection.prepare(query)?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect()
        });
        letters.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_handled_in_the_order_of_its_key_and_committed() {
    let world = World::new().await;
    let keys: Vec<String> = (0..500).map(|n| format!("k{}", n % 7)).collect();
    world.publish(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let running = world.start(quick(), async |message: Message| {
        // Some wait, some do not: the order of a key must not depend on it.
        if message.offset() % 3 == 0 {
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
        Ok(())
    });
    world.until_finished("handled", 500).await;
    running.stop().await;
    assert_eq!(world.committed().await, 500);
    let mut by_key: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    world.handled.lock().unwrap().iter().for_each(|offset| by_key.entry(offset % 7).or_default().push(*offset));
    assert!(by_key.values().all(|offsets| offsets.is_sorted()), "{by_key:?}");
    assert_eq!(world.metrics.worker_in_flight.with_label_values(&["payment"]).get(), 0);

    world.publish(&["k1"]).await;
    let running = world.start(quick(), async |_| Ok(()));
    world.until_finished("handled", 501).await;
    running.stop().await;
    assert_eq!(world.handled.lock().unwrap()[500..], [500], "it goes on where it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_holds_up_its_own_key_and_no_other() {
    let world = World::new().await;
    world.publish(&["bad", "bad", "good", "good", "bad"]).await;
    let (attempts, is_mended) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let config = Config { max_attempts: u32::MAX, ..quick() };
    let running = world.start(config, {
        let (attempts, is_mended) = (attempts.clone(), is_mended.clone());
        move |message: Message| {
            let fails = message.offset() == 0 && !is_mended.load(Ordering::Relaxed);
            attempts.fetch_add(u32::from(message.offset() == 0), Ordering::Relaxed);
            async move { if fails { Err(Failure::retryable("not yet")) } else { Ok(()) } }
        }
    });
    world.until("many attempts", || attempts.load(Ordering::Relaxed) > 5).await;
    assert_eq!(*world.handled.lock().unwrap(), [2, 3]);
    is_mended.store(true, Ordering::Relaxed);
    world.until_finished("handled", 5).await;
    running.stop().await;
    assert_eq!(*world.handled.lock().unwrap(), [2, 3, 0, 1, 4]);
    assert!(world.failed("retryable") > 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_handled_becomes_a_dead_letter_and_its_key_goes_on() {
    let world = World::new().await;
    world.publish(&["a", "a", "b", "b", "c", "d"]).await;
    let config = Config { max_attempts: 3, handler_timeout: Duration::from_millis(50), ..quick() };
    let running = world.start(config, async |message: Message| match message.offset() {
        0 => Err(Failure::permanent("no such article")),
        2 => Err(Failure::retryable("out of stock")),
        4 => panic!("a mistake"),
        5 => std::future::pending().await,
        _ => Ok(()),
    });
    world.until_finished("dead_lettered", 4).await;
    world.until_finished("handled", 2).await;
    running.stop().await;
    let letters = world.letters().await;
    let expected = [
        (0, 1, "no such article"),
        (2, 3, "out of stock"),
        (4, 3, "the handler panicked: a mistake"),
        (5, 3, "the handler did not end within 50ms"),
    ];
    assert_eq!(letters, expected.map(|(offset, attempts, error)| (offset, attempts, error.to_owned())));
    assert_eq!(world.committed().await, 6);
    let failed = ["retryable", "panic", "timeout", "permanent"].map(|kind| world.failed(kind));
    assert_eq!(failed, [3, 3, 3, 1], "each attempt that failed, the last one, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_something_is_away_the_topic_waits_and_no_attempt_is_spent() {
    let world = World::new().await;
    world.publish(&["a", "b", "c", "d"]).await;
    let (is_away, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let config = Config { max_attempts: 1, concurrency: 1, ..quick() };
    let running = world.start(config, {
        let (is_away, asked) = (is_away.clone(), asked.clone());
        move |_| {
            asked.fetch_add(1, Ordering::Relaxed);
            let is_away = is_away.load(Ordering::Relaxed);
            async move { if is_away { Err(Failure::unavailable("the bank is closed")) } else { Ok(()) } }
        }
    });
    world.until("several probes", || asked.load(Ordering::Relaxed) > 4).await;
    assert_eq!(world.open_breakers(), 1);
    assert!(world.handled.lock().unwrap().is_empty());
    is_away.store(false, Ordering::Relaxed);
    world.until_finished("handled", 4).await;
    running.stop().await;
    assert_eq!(world.open_breakers(), 0);
    assert_eq!(*world.handled.lock().unwrap(), [0, 1, 2, 3]);
    assert_eq!((world.letters().await.len(), world.finished("dead_lettered")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_while_something_is_away_leaves_no_open_breaker() {
    let world = World::new().await;
    world.publish(&["a"]).await;
    let running = world.start(quick(), async |_| Err::<(), _>(Failure::unavailable("the bank is closed")));
    world.until("it is open", || world.open_breakers() == 1).await;
    running.stop().await;
    assert_eq!(world.open_breakers(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_begins_with_the_latest_sees_nothing_older_and_all_that_follows() {
    let world = World::new().await;
    world.publish(&["old", "old"]).await;
    let latest = || Config { start: Start::Latest, ..quick() };
    let running = world.start(latest(), async |_| Ok(()));
    let begun = Instant::now();
    while world.committed().await != 2 {
        assert!(begun.elapsed() < SOON, "it does not begin");
    }
    world.publish(&["new"]).await;
    world.until_finished("handled", 1).await;
    running.stop().await;
    assert_eq!(*world.handled.lock().unwrap(), [2]);

    world.publish(&["while it was away"]).await;
    let running = world.start(latest(), async |_| Ok(()));
    world.until_finished("handled", 2).await;
    running.stop().await;
    assert_eq!(*world.handled.lock().unwrap(), [2, 3], "the end is for a new group only");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_again_is_handled_once_with_its_effects() {
    let world = World::new().await;
    world.publish(&["a", "b", "c"]).await;
    world.publish(&["b", "b", "x", "d"]).await;
    world.file.write(|c| c.execute_batch("CREATE TABLE paid (offset INTEGER)")).await.unwrap();
    let idempotency = Idempotency::embedded(world.file.clone(), Duration::from_secs(3_600)).await.unwrap();
    let config = Config { idempotency: Some(idempotency), max_attempts: 2, ..quick() };
    let running = world.start(config, async |message: Message| {
        let offset = message.offset();
        // The last event's first attempt leaves a half behind, unless it is undone.
        Ok(Effects::sql(move |file| {
            file.execute("INSERT INTO paid VALUES (?1)", [offset])?;
            if offset == 6 { file.execute_batch("no SQL") } else { Ok(()) }
        }))
    });
    world.until_finished("dead_lettered", 1).await;
    world.until_finished("duplicate", 3).await;
    running.stop().await;
    let paid = |c: &rusqlite::Connection| c.query_row("SELECT group_concat(offset) FROM paid", [], |row| row.get(0));
    let paid: String = world.file.write(paid).await.unwrap();
    assert_eq!(paid, "0,1,2");
    let letters = world.letters().await;
    assert!(letters[0].2.contains("refuses the handler's effects"), "{letters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_panics_beside_the_handler_is_a_failed_attempt_too() {
    let world = World::new().await;
    world.publish(&["a", "b", "c"]).await;
    let notes = Idempotency::embedded(world.file.clone(), Duration::from_secs(3_600)).await.unwrap();
    let notes = notes.identified_by(|message| match message.offset() {
        0 => panic!("no id"),
        offset => Some(offset.to_string()),
    });
    let config = Config { idempotency: Some(notes), max_attempts: 2, ..quick() };
    let running = world.start(config, async |message: Message| match message.offset() {
        1 => Ok(Effects::sql(|_| panic!("no SQL"))),
        _ => Ok(Effects::default()),
    });
    world.until_finished("dead_lettered", 2).await;
    world.until_finished("handled", 1).await;
    running.stop().await;
    let letters = world.letters().await;
    assert_eq!((letters[0].0, letters[0].2.as_str()), (0, "the handler panicked: no id"));
    assert!(letters[1].2.contains("refuses the handler's effects: they panicked"), "{letters:?}");
    assert_eq!(world.committed().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_without_notes_and_what_is_not_wanted() {
    let world = World::new().await;
    world.publish(&["a", "b"]).await;
    let running = world.start(quick(), async |message: Message| match message.offset() {
        0 => Ok(Handled::Done(Effects::sql(|_| Ok(())))),
        _ => Ok(Handled::Skipped("not for us")),
    });
    world.until_finished("dead_lettered", 1).await;
    world.until_finished("skipped", 1).await;
    running.stop().await;
    assert!(world.letters().await[0].2.contains("Config::idempotency"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_lets_its_handlers_end_but_not_for_ever() {
    let world = World::new().await;
    world.publish(&["slow", "stuck", "behind"]).await;
    let (begun, go_on) = (Arc::new(AtomicU32::new(0)), Arc::new(tokio::sync::Notify::new()));
    let config = Config { concurrency: 2, drain: Duration::from_millis(200), ..quick() };
    let running = world.start(config, {
        let (begun, go_on) = (begun.clone(), go_on.clone());
        move |message: Message| {
            begun.fetch_add(1, Ordering::Relaxed);
            let go_on = go_on.clone();
            async move {
                match message.offset() {
                    0 => go_on.notified().await,
                    _ => std::future::pending().await,
                }
                Ok(())
            }
        }
    });
    world.until("two handlers run", || begun.load(Ordering::Relaxed) == 2).await;
    running.shutdown.begin();
    go_on.notify_one();
    running.stop().await;
    assert_eq!(*world.handled.lock().unwrap(), [0]);
    assert_eq!(world.committed().await, 1, "the stuck one and what is behind it are handled by the next");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_blocks_its_thread_does_not_hold_up_the_end() {
    let world = World::new().await;
    world.publish(&["quick", "stuck"]).await;
    let (begun, (go_on, blocked)) = (Arc::new(AtomicBool::new(false)), std::sync::mpsc::sync_channel::<()>(0));
    let blocked = Arc::new(Mutex::new(blocked));
    let config = Config { concurrency: 1, drain: Duration::from_millis(1), ..quick() };
    let running = world.start(config, {
        let begun = begun.clone();
        move |message: Message| {
            let (begun, blocked) = (begun.clone(), blocked.clone());
            async move {
                if message.offset() == 1 {
                    begun.store(true, Ordering::Relaxed);
                    _ = blocked.lock().unwrap().recv();
                }
                Ok(())
            }
        }
    });
    world.until("it blocks", || begun.load(Ordering::Relaxed)).await;
    running.stop().await;
    drop(go_on);
    assert!(world.committed().await <= 1, "the stuck one is not handled");
}

#[test]
fn a_configuration_that_cannot_work_says_what_to_change() {
    let complaint = |config: Config| config.validate().unwrap_err().to_string();
    assert!(complaint(Config { concurrency: 0, ..Config::default() }).contains("at least 1"));
    assert!(complaint(Config { max_in_flight: 1, ..Config::default() }).contains("max_in_flight"));
    assert!(complaint(Config { drain: Duration::from_secs(60), ..Config::default() }).contains("at most 20 s"));
    Config::default().validate().unwrap();
}
