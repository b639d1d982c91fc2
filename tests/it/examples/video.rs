use std::collections::BTreeMap;

use serde_json::Value;

use super::{Example, SOON};
use crate::support::topic::Record;
use crate::support::{self, eventually, unique};

const VIDEOS: usize = 12;

/// For each video its types of events, each with the ids under which it was published and the first offset.
type Told = BTreeMap<String, BTreeMap<String, (Vec<String>, i64)>>;

fn told(records: &[Record]) -> Told {
    let mut told = Told::new();
    for record in records {
        let event: Value = serde_json::from_slice(record.value.as_deref().expect("a value")).expect("JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let of_video = told.entry(text(&event["payload"]["video"])).or_default();
        let (ids, _) = of_video.entry(text(&event["event_type"])).or_insert_with(|| (Vec::new(), record.offset));
        let id = text(&event["event_id"]);
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    told
}

/// Waits until each video has an event of this type.
async fn until_told(topic: &str, event_type: &str) -> Told {
    eventually(SOON, event_type, async || {
        let told = told(&support::kafka().await.read(topic).await);
        let missing = told.values().filter(|events| !events.contains_key(event_type)).count();
        if (told.len(), missing) == (VIDEOS, 0) {
            Ok(told)
        } else {
            Err(format!("{missing} of {} videos have none", told.len()))
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_video_gets_ready_over_a_kill_and_a_step_is_added_without_touching_the_others() {
    let topic = unique("video");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = folder.path().join("video.db");
    let steps = ["steps", "--takes", "40ms", "--file", file.to_str().expect("a path that is text")];
    let titles: Vec<String> = (0..VIDEOS).map(|n| format!("Cats number {n}")).collect();
    let upload: Vec<&str> = ["upload"].into_iter().chain(titles.iter().map(String::as_str)).collect();
    Example::run("video", &topic, &upload).await;

    let first = Example::start("video", &topic, &steps).await;
    first.until("transcode: ", 3).await;
    first.kill();
    let second = Example::start("video", &topic, &steps).await;
    let told = until_told(&topic, "video.ready").await;
    for (video, events) in &told {
        let place = |event_type: &str| events[event_type].1;
        let parts = [place("video.thumbnails"), place("video.indexed")];
        assert!(place("video.uploaded") < place("video.transcoded"), "{video}: {events:?}");
        assert!(parts.iter().all(|part| place("video.transcoded") < *part), "{video}: {events:?}");
        assert!(parts.iter().all(|part| *part < place("video.ready")), "{video}: {events:?}");
        assert!(events.values().all(|(ids, _)| ids.len() == 1), "{video}: {events:?}");
    }

    let scan = Example::start("video_virus_scan", &topic, &[]).await;
    until_told(&topic, "video.scanned").await;
    scan.interrupt().await;
    second.interrupt().await;
}
