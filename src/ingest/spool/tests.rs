//! The spool between two logs that do as they are told.

use super::*;
use crate::log::Header;
use crate::log::testing::FakeLog;
use std::task::Poll;

struct World {
    folder: tempfile::TempDir,
    direct: Arc<FakeLog>,
    forward: Arc<FakeLog>,
    metrics: Arc<Metrics>,
}

impl World {
    fn new() -> World {
        World::with(FakeLog::default(), FakeLog::default())
    }

    fn with(direct: FakeLog, forward: FakeLog) -> World {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        World { folder, direct: Arc::new(direct), forward: Arc::new(forward), metrics }
    }

    async fn open(&self) -> Result<Arc<Spool>, SpoolError> {
        let logs = Logs { direct: self.direct.clone(), forward: self.forward.clone() };
        let path = self.folder.path().join("new/spool.db");
        Spool::open(path, &Config::default(), 200_000, logs, self.metrics.clone()).await.map(Arc::new)
    }

    fn away(&self, away: bool) {
        self.direct.away.store(away, Ordering::Relaxed);
    }

    fn stored(&self, on: &str) -> u64 {
        self.metrics.ingest_stored_events_total.with_label_values(&[on]).get()
    }
}

fn events(numbers: std::ops::Range<usize>) -> Vec<NewRecord> {
    let event = |n: usize| NewRecord {
        key: Some(b"k".to_vec()),
        value: Some(vec![b'x'; n]),
        headers: vec![Header::text("event_type", "view")],
    };
    numbers.map(event).collect()
}

/// Runs the spool until events go straight to the log.
async fn drained(spool: &Arc<Spool>) {
    let shutdown = Shutdown::new();
    let running = tokio::spawn(spool.clone().run(shutdown.clone()));
    let direct = async {
        while !spool.ladder().is_direct() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), direct).await.expect("the spool gets empty");
    shutdown.begin();
    running.await.unwrap();
}

#[tokio::test]
async fn what_comes_while_the_log_is_away_is_forwarded_in_order_over_a_restart() {
    let world = World::new();
    let spool = world.open().await.unwrap();
    assert_eq!(spool.store(events(0..2)).await.unwrap(), Stored::Kafka);
    world.away(true);
    assert_eq!(spool.store(events(2..5)).await.unwrap(), Stored::Disk);
    world.away(false);
    assert_eq!(spool.store(events(5..6)).await.unwrap(), Stored::Disk, "it may not overtake what waits");
    spool.close();
    drop(spool);

    let spool = world.open().await.unwrap();
    assert_eq!(spool.store(events(6..7)).await.unwrap(), Stored::Disk);
    spool.reported();
    assert_eq!((world.metrics.spool_waiting_events.get(), world.metrics.spool_active.get()), (5, 1));
    assert!(world.metrics.spool_bytes.get() > 0);
    drained(&spool).await;
    assert_eq!(*world.forward.records.lock().unwrap(), events(2..7));
    assert_eq!(spool.store(events(7..8)).await.unwrap(), Stored::Kafka);
    assert_eq!((world.stored("kafka"), world.stored("disk")), (3, 5));
    assert_eq!(world.metrics.spool_forwarded_events_total.get(), 5);
    assert_eq!((world.metrics.spool_waiting_events.get(), world.metrics.spool_bytes.get()), (0, 0));
}

#[tokio::test]
async fn what_the_log_did_not_acknowledge_is_on_disk_whether_or_not_anybody_waits() {
    let world = World::with(FakeLog { failing: Some(|| LogError::Busy), ..FakeLog::default() }, FakeLog::default());
    let spool = world.open().await.unwrap();
    assert_eq!(spool.store(events(0..3)).await.unwrap(), Stored::Disk);
    drained(&spool).await;
    let mut gone = Box::pin(spool.store(events(3..4)));
    let begun = std::future::poll_fn(|context| Poll::Ready(gone.as_mut().poll(context).is_pending())).await;
    assert!(begun, "it is under way");
    drop(gone);
    drained_to(&world, 4, &spool).await;
    assert_eq!(*world.forward.records.lock().unwrap(), events(0..4));
}

async fn drained_to(world: &World, forwarded: u64, spool: &Arc<Spool>) {
    let shutdown = Shutdown::new();
    let running = tokio::spawn(spool.clone().run(shutdown.clone()));
    let forwarded = async {
        while world.metrics.spool_forwarded_events_total.get() < forwarded {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), forwarded).await.expect("they are forwarded");
    shutdown.begin();
    running.await.unwrap();
}

#[tokio::test]
async fn what_is_too_large_is_a_dead_letter_and_the_others_go_on() {
    let world = World::with(FakeLog::default(), FakeLog { largest: Some(96), ..FakeLog::default() });
    let spool = world.open().await.unwrap();
    world.away(true);
    spool.store(events(0..100)).await.unwrap();
    world.away(false);
    drained(&spool).await;
    assert_eq!(*world.forward.records.lock().unwrap(), events(0..97));
    let letters = world.forward.letters.lock().unwrap();
    assert_eq!(
        letters.iter().map(|letter| (letter.partition, letter.offset)).collect::<Vec<_>>(),
        [(-1, 97), (-1, 98), (-1, 99)]
    );
    assert_eq!(letters[0].headers, [Header::text("event_type", "view")]);
    assert_eq!(world.metrics.spool_dead_letters_total.get(), 3);
}

#[tokio::test]
async fn the_log_itself_says_what_is_too_large() {
    let world = World::with(FakeLog { largest: Some(5), ..FakeLog::default() }, FakeLog::default());
    let spool = world.open().await.unwrap();
    let refused = spool.store(events(6..7)).await.unwrap_err();
    assert!(matches!(refused, NotStored::Log(LogError::TooLarge)), "{refused}");
    assert_eq!(spool.store(events(1..2)).await.unwrap(), Stored::Kafka);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_with_its_key() {
    let world = World::new();
    let spool = world.open().await.unwrap();
    let error = world.open().await.err().unwrap().to_string();
    assert!(error.starts_with("ingest.spool.path: ") && error.contains("is in use by process"), "{error}");
    let path = spool.path().to_owned();
    spool.close();
    let refused = spool.store(events(0..1)).await;
    assert_eq!(refused.unwrap(), Stored::Kafka, "as long as Kafka takes them, nobody needs the file");
    world.away(true);
    let refused = spool.store(events(0..1)).await.unwrap_err().to_string();
    assert!(refused.contains("the spool cannot be written"), "{refused}");
    assert!(spool.ready().await.unwrap_err().contains("the spool cannot be written"));
    assert_eq!(world.metrics.spool_refused_events_total.get(), 1);
    std::fs::write(&path, "something else, and long enough to be taken for a file that belongs to somebody").unwrap();
    let error = world.open().await.err().unwrap().to_string();
    assert!(error.contains("left untouched"), "{error}");
}
