use super::*;
use crate::log::{Extent, Header, Notice};
use bytesize::ByteSize;

struct Fixture {
    folder: tempfile::TempDir,
    config: Config,
}

impl Fixture {
    fn new() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { path: folder.path().join("log.db"), ..Config::default() };
        Fixture { folder, config }
    }

    async fn open(&self) -> EmbeddedLog {
        let file = EmbeddedFile::open(&self.config, false).unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        EmbeddedLog::open(file, &self.config, ("user.events", "counting"), metrics).await.unwrap()
    }
}

fn events(values: impl IntoIterator<Item = i64>) -> Vec<NewRecord> {
    let event = |n: i64| NewRecord {
        key: Some(format!("k{n}").into_bytes()),
        value: Some(format!("{{\"n\":{n}}}").into_bytes()),
        headers: Vec::new(),
    };
    values.into_iter().map(event).collect()
}

/// Offsets handed out by one poll, and notices.
fn poll(consumer: &dyn Consumer, max: usize) -> (Vec<i64>, Vec<Notice>) {
    let mut offsets = Vec::new();
    let notices = consumer.poll(Duration::ZERO, max, &mut |record| offsets.push(record.offset));
    (offsets, notices)
}

/// A consumer that has the partition and reads from an offset.
fn reading(log: &EmbeddedLog, from: i64) -> Arc<dyn Consumer> {
    let consumer = log.consumer().unwrap();
    assert_eq!(poll(&*consumer, 1).1, [Notice::Assigned(vec![0])]);
    consumer.start(&[(0, from)]).unwrap();
    consumer
}

/// Waits until everything handed in so far is written.
async fn settle(log: &EmbeddedLog) {
    log.inner.file.write(|_| Ok(())).await.unwrap();
}

const FAR: i64 = 100 * 365 * 86_400_000;

#[tokio::test]
async fn what_is_appended_is_read_in_order_from_offset_zero() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    log.append(events(0..3)).await.unwrap();
    log.append(events(3..5)).await.unwrap();
    let consumer = reading(&log, 0);
    let mut seen = Vec::new();
    consumer.poll(Duration::ZERO, 10, &mut |record| {
        assert!(record.time_ms.unwrap() > 1_700_000_000_000);
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
        seen.push((record.offset, text(record.key), text(record.value)));
    });
    let expected: Vec<_> = (0..5).map(|n| (n, format!("k{n}"), format!("{{\"n\":{n}}}"))).collect();
    assert_eq!(seen, expected);
    assert_eq!(consumer.ends(&[0]).unwrap(), [(0, 5)]);
    assert_eq!(log.stored(), Stored::Disk);
}

#[tokio::test]
async fn batches_new_places_and_pauses() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    log.append(events(0..5)).await.unwrap();
    let consumer = reading(&log, 0);
    assert_eq!(poll(&*consumer, 2).0, [0, 1]);
    consumer.pause(&[0]).unwrap();
    assert_eq!(poll(&*consumer, 9).0, [0_i64; 0]);
    consumer.resume(&[0]).unwrap();
    assert_eq!(poll(&*consumer, 1).0, [2]);
    consumer.pause(&[0]).unwrap();
    consumer.start(&[(0, 1)]).unwrap();
    assert_eq!(poll(&*consumer, 9).0, [1, 2, 3, 4]);
    consumer.release(&[0]).unwrap();
    consumer.start(&[(0, 4)]).unwrap();
    assert_eq!(poll(&*consumer, 9), (vec![4], vec![]));
}

#[tokio::test]
async fn single_records_are_looked_up_by_place_and_by_time() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    log.append(events(0..3)).await.unwrap();
    let found = log.first_records(&[(0, 1)]).await.unwrap().remove(0).unwrap();
    assert_eq!(found.offset, 1);
    let value = std::str::from_utf8(found.value.as_deref().unwrap()).unwrap().to_owned();
    assert_eq!(Some(value.as_bytes()), events(1..2)[0].value.as_deref());
    assert_eq!(log.first_records(&[(0, 3)]).await.unwrap(), [None]);
    let time = found.time_ms.unwrap();
    assert_eq!(log.first_after(0, time - 1_000_000).await.unwrap(), Some(0));
    assert_eq!(log.first_after(0, time + 1_000_000).await.unwrap(), None);
}

#[tokio::test]
async fn offsets_go_on_after_everything_was_deleted_and_the_file_was_opened_again() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    log.append(events(0..3)).await.unwrap();
    log.trim(3, FAR);
    settle(&log).await;
    drop(log);
    let log = fixture.open().await;
    let consumer = reading(&log, 3);
    let nothing = Extent { partition: 0, start: 3, end: 3, committed: None };
    assert_eq!(consumer.extents(&[0]).unwrap(), [nothing]);
    log.append(events(0..1)).await.unwrap();
    assert_eq!(poll(&*consumer, 9), (vec![3], vec![]));
}

#[tokio::test]
async fn only_what_is_counted_and_old_is_deleted() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    log.append(events(0..4)).await.unwrap();
    let consumer = reading(&log, 0);
    let start = || consumer.extents(&[0]).unwrap()[0].start;
    log.trim(4, now_ms());
    settle(&log).await;
    assert_eq!(start(), 0, "young records stay");
    log.trim(2, FAR);
    settle(&log).await;
    assert_eq!(start(), 2, "records that are not counted stay, however old");
    consumer.commit(&[(0, 3)]);
    settle(&log).await;
    assert_eq!(consumer.extents(&[0]).unwrap(), [Extent { partition: 0, start: 2, end: 4, committed: Some(3) }]);
}

#[tokio::test]
async fn a_position_that_is_no_longer_or_not_yet_there_is_out_of_range() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    log.append(events(0..4)).await.unwrap();
    log.trim(2, FAR);
    settle(&log).await;
    let consumer = reading(&log, 1);
    assert_eq!(poll(&*consumer, 9), (vec![], vec![Notice::OutOfRange(Some(0))]));
    assert_eq!(poll(&*consumer, 9), (vec![], vec![]), "said once");
    consumer.start(&[(0, 9)]).unwrap();
    assert_eq!(poll(&*consumer, 9), (vec![], vec![Notice::OutOfRange(Some(0))]));
    consumer.start(&[(0, 2)]).unwrap();
    assert_eq!(poll(&*consumer, 9), (vec![2, 3], vec![]));
}

#[tokio::test]
async fn a_full_log_refuses_until_counted_records_make_room() {
    let mut fixture = Fixture::new();
    fixture.config.max_bytes = ByteSize::kib(200);
    let log = fixture.open().await;
    let consumer = reading(&log, 0);
    let big = || {
        let mut records = events(0..1);
        records[0].value = Some(vec![b'x'; 20_000]);
        records
    };
    let mut stored = 0;
    let full = loop {
        match log.append(big()).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 20);
    };
    assert!(matches!(full, LogError::Full { max_bytes: 204_800 }), "{full}");
    assert!(log.ready().await.is_err());
    // Young, but counted: better gone than new events refused.
    consumer.commit(&[(0, stored - 1)]);
    settle(&log).await;
    log.ready().await.unwrap();
    log.append(big()).await.unwrap();
    consumer.start(&[(0, stored - 1)]).unwrap();
    assert_eq!(poll(&*consumer, 9).0, [stored - 1, stored], "what is not counted is still there");
}

#[tokio::test]
async fn whoever_waits_is_woken_by_an_append_and_else_returns_in_time() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    let consumer = reading(&log, 0);
    let begun = Instant::now();
    assert_eq!(consumer.poll(Duration::from_millis(50), 9, &mut |_| {}), []);
    assert!(begun.elapsed() >= Duration::from_millis(50));
    let waiting = tokio::task::spawn_blocking(move || {
        let mut count = 0;
        consumer.poll(Duration::from_secs(60), 9, &mut |_| count += 1);
        count
    });
    log.append(events(0..2)).await.unwrap();
    assert_eq!(waiting.await.unwrap(), 2);
}

#[tokio::test]
async fn one_consumer_has_the_partition_and_hands_it_on() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    let first = reading(&log, 0);
    let second = log.consumer().unwrap();
    assert_eq!(poll(&*second, 1).1, []);
    second.start(&[(0, 0)]).unwrap();
    log.append(events(0..1)).await.unwrap();
    assert_eq!(poll(&*second, 1).0, [0_i64; 0]);
    first.close();
    assert_eq!(poll(&*first, 1), (vec![], vec![]));
    assert_eq!(poll(&*second, 1).1, [Notice::Assigned(vec![0])]);
}

#[tokio::test]
async fn dead_letters_can_be_read_with_any_tool() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    let letter = DeadLetter {
        partition: 0,
        offset: 7,
        time_ms: None,
        key: None,
        value: Some(vec![0xff, 0]),
        headers: Vec::new(),
        error: "not UTF-8".to_owned(),
        attempts: 1,
        failed_at_ms: 12,
    };
    log.dead_letters(&[letter.clone(), letter.clone()]).await.unwrap();
    log.dead_letters(&[letter]).await.unwrap();
    let connection = rusqlite::Connection::open(&fixture.config.path).unwrap();
    let query = "SELECT count(*), min(error), min(original_offset), min(failed_at), min(value) FROM dead_letters";
    let found: (i64, String, i64, i64, Vec<u8>) =
        connection.query_row(query, [], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?))).unwrap();
    assert_eq!(found, (1, "not UTF-8".to_owned(), 7, 12, vec![0xff, 0]));
}

#[tokio::test]
async fn values_are_json_to_any_tool() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    log.append(events(0..3)).await.unwrap();
    let connection = rusqlite::Connection::open(&fixture.config.path).unwrap();
    let sum: i64 = connection.query_row("SELECT sum(value ->> 'n') FROM records", [], |row| row.get(0)).unwrap();
    assert_eq!(sum, 3);
}

#[tokio::test]
async fn a_copy_taken_at_any_moment_holds_every_acknowledged_record() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    log.append(events(0..100)).await.unwrap();
    // What a kill -9 leaves: the files as they are, nothing closed.
    let path = fixture.folder.path().join("copy.db");
    for end in ["", "-wal"] {
        let from = format!("{}{end}", fixture.config.path.display());
        std::fs::copy(from, format!("{}{end}", path.display())).unwrap();
    }
    let copy = Fixture { config: Config { path, ..fixture.config.clone() }, folder: tempfile::tempdir().unwrap() };
    let copied = copy.open().await;
    copied.append(events(100..101)).await.unwrap();
    let consumer = reading(&copied, 0);
    assert_eq!(poll(&*consumer, 1_000).0, (0..101).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_scan_reads_a_range_while_the_file_is_in_use() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    log.append(events(0..2_500)).await.unwrap();
    let path = &fixture.config.path;
    let mut seen = Vec::new();
    scan(path, 5, 2_400, &mut |record| seen.push(record.offset)).unwrap();
    assert_eq!(seen, (5..2_400).collect::<Vec<_>>());
    seen.clear();
    scan(path, 2_490, 9_999, &mut |record| seen.push(record.offset)).unwrap();
    assert_eq!(seen, (2_490..2_500).collect::<Vec<_>>());
    log.trim(100, FAR);
    settle(&log).await;
    let gone = scan(path, 5, 200, &mut |_| {}).unwrap_err();
    assert!(matches!(gone, LogError::OutOfRange { partition: 0, offset: 5 }), "{gone}");
}

#[tokio::test]
async fn each_group_reads_the_whole_log_and_the_slowest_keeps_it() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    let other = log.for_group("billing");
    log.append(events(0..10)).await.unwrap();
    let (counting, billing) = (reading(&log, 0), reading(&other, 0));
    assert_eq!((poll(&*counting, 100).0.len(), poll(&*billing, 100).0.len()), (10, 10));
    let commit = |consumer: Arc<dyn Consumer>, to| {
        tokio::task::spawn_blocking(move || consumer.commit_now(&[(0, to)]).map(|()| consumer.extents(&[0]).unwrap()))
    };
    let extent = commit(counting, 8).await.unwrap().unwrap();
    assert_eq!(extent[0].committed, Some(8));
    let extent = commit(billing, 3).await.unwrap().unwrap();
    assert_eq!(extent[0].committed, Some(3));
    let below = log.inner.file.write(schema::read_by_all).await.unwrap();
    assert_eq!(below, 3);
}

#[tokio::test]
async fn a_file_from_before_there_were_groups_and_headers_keeps_what_it_has() {
    let fixture = Fixture::new();
    let file = EmbeddedFile::open(&fixture.config, false).unwrap();
    let before = "CREATE TABLE committed (partition INTEGER PRIMARY KEY, offset INTEGER NOT NULL);
        INSERT INTO committed VALUES (0, 42);
        CREATE TABLE dead_letters (original_partition INTEGER NOT NULL, original_offset INTEGER NOT NULL,
            original_timestamp INTEGER, error TEXT NOT NULL, attempts INTEGER NOT NULL, failed_at INTEGER NOT NULL,
            key, value, PRIMARY KEY (original_partition, original_offset));
        INSERT INTO dead_letters VALUES (0, 7, NULL, 'no JSON', 1, 12, NULL, 'x');";
    file.write(|connection| connection.execute_batch(before)).await.unwrap();
    drop(file);
    let records =
        "CREATE TABLE records (offset INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER NOT NULL, key, value);
        INSERT INTO records VALUES (0, 1, 'k', 'v');";
    rusqlite::Connection::open(&fixture.config.path).unwrap().execute_batch(records).unwrap();
    let without = |record: LogRecord<'_>| assert_eq!((record.copied_headers(), record.key), (vec![], Some(&b"k"[..])));
    scan(&fixture.config.path, 0, 1, &mut |record| without(record)).unwrap();
    for n in 0..2 {
        let log = fixture.open().await;
        let header = Header::text("event_type", "view");
        log.append(vec![NewRecord { key: None, value: None, headers: vec![header.clone()] }]).await.unwrap();
        scan(&fixture.config.path, 0, 1, &mut |record| without(record)).unwrap();
        scan(&fixture.config.path, n + 1, n + 2, &mut |record| {
            assert_eq!(record.copied_headers(), std::slice::from_ref(&header));
        })
        .unwrap();
        let committed = log.inner.file.write(|c| schema::committed(c, "counting")).await.unwrap();
        assert_eq!(committed, Some(42));
        let query = "SELECT original_offset, consumer_group FROM dead_letters";
        let row = move |c: &rusqlite::Connection| c.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?)));
        let letter: (i64, String) = log.inner.file.write(row).await.unwrap();
        assert_eq!(letter, (7, "counting".to_owned()));
    }
}
