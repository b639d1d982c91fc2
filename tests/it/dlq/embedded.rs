//! The same on the embedded file: read beside a running process, written only without one, redriven exactly once.

use rusqlite::Connection;
use serde_json::json;

use super::{assert_harmless, dlq, listed, offsets};
use crate::support::app::Running;
use crate::support::{Settings, now_ms};

/// Values that cannot be read as an event.
const UNREADABLE: [&[u8]; 4] = [b"no json", b"\x1b[2J\xff", b"", br#"{"type":"view","timestamp":"soon"}"#];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_of_the_file_are_listed_redriven_once_and_purged() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path());
    let missing = dlq(&["list"], &settings).await;
    assert!(missing.code == 1 && missing.output.contains("does not exist"), "{}", missing.output);
    let file = settings.text_of("embedded.path").to_owned();
    let gauge = Running::start(&settings).await;
    gauge.post(&json!({"type": "page_view"})).await;
    gauge.until_consumed(1).await;
    gauge.stop().await;
    let none = dlq(&["list"], &settings).await;
    assert!(none.code == 0 && none.output.contains("no dead letters in"), "{}", none.output);
    {
        let connection = Connection::open(&file).unwrap();
        let insert = "INSERT INTO records (time_ms, key, value) VALUES (?1, ?2, ?3)";
        for value in UNREADABLE {
            connection.execute(insert, rusqlite::params![now_ms(), b"\x1bkey".to_vec(), value]).unwrap();
        }
    }

    let gauge = Running::start(&settings).await;
    gauge.until_consumed(5).await;
    let (lines, _) = listed(&[], &settings).await;
    assert_eq!(offsets(&lines), [1, 2, 3, 4], "beside the running process");
    let list = dlq(&["list", "--until", "now"], &settings).await;
    assert!(list.output.contains("0:2:streamgauge") && list.output.contains("4 dead letters"), "{}", list.output);
    assert_harmless(&list.output);
    let show = dlq(&["show", "0:2"], &settings).await;
    assert!(show.code == 0 && show.output.contains("1b 5b 32 4a ff"), "{}", show.output);
    assert_harmless(&show.output);
    let dry = dlq(&["redrive", "--all", "--dry-run"], &settings).await;
    assert!(dry.code == 0 && dry.output.contains("4 dead letters"), "{}", dry.output);
    for arguments in [&["redrive", "--all"][..], &["purge", "--yes"]] {
        let busy = dlq(arguments, &settings).await;
        assert!(busy.code == 1 && busy.output.contains("stop that one first"), "{}", busy.output);
    }
    gauge.stop().await;

    let some = dlq(&["redrive", "0:1", "0:2:streamgauge", "0:2:nobody", "0:77"], &settings).await;
    assert_eq!(some.code, 1, "{}", some.output);
    assert!(
        some.output.contains("2 dead letters of") && some.output.contains("no dead letter 0:77"),
        "{}",
        some.output
    );
    assert_eq!(offsets(&listed(&[], &settings).await.0), [3, 4]);
    assert_eq!(records(&file)[5..], [UNREADABLE[0].to_vec(), UNREADABLE[1].to_vec()]);
    let gauge = Running::start(&settings).await;
    let status = gauge.until_consumed(7).await;
    assert_eq!(status["unaccounted"], 0, "{status}");
    gauge.stop().await;
    assert_eq!(offsets(&listed(&[], &settings).await.0), [3, 4, 5, 6], "they died again");

    let filtered = dlq(&["purge", "--yes", "--reason", "timestamp"], &settings).await;
    assert!(filtered.code == 0 && filtered.output.contains("deleted: 1 dead letter,"), "{}", filtered.output);
    assert_eq!(offsets(&listed(&[], &settings).await.0), [3, 5, 6]);
    assert_eq!(dlq(&["purge"], &settings).await.code, 1);
    let all = dlq(&["redrive", "--all"], &settings).await;
    assert_eq!((all.code, records(&file).len()), (0, 10), "{}", all.output);
    let again = dlq(&["redrive", "--all"], &settings).await;
    assert_eq!((again.code, records(&file).len()), (0, 10), "{}", again.output);
    for arguments in [&["list", "--topic", "other"][..], &["redrive", "--all", "--to-topic", "other"]] {
        let other = dlq(arguments, &settings).await;
        assert!(other.code == 1 && other.output.contains("holds one topic"), "{}", other.output);
    }
}

/// The values of all records.
fn records(file: &str) -> Vec<Vec<u8>> {
    let connection = Connection::open(file).unwrap();
    let mut select = connection.prepare("SELECT CAST(value AS BLOB) FROM records ORDER BY offset").unwrap();
    let values = select.query_map([], |row| row.get(0)).unwrap();
    values.map(Result::unwrap).collect()
}
