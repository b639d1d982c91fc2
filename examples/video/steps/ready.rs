//! video.thumbnails and video.indexed, in any order → video.ready
//!
//! Who waits for two things has to remember the first. It does so in a file, before the event is committed: whatever
//! dies in between, the event comes again, and what is noted twice is noted once.

use super::{Events, tell};
use crate::events::{ThumbnailsMade, VideoIndexed, VideoReady};
use std::sync::Arc;
use streamgauge::embedded::EmbeddedFile;
use streamgauge::envelope::{Envelope, Json};
use streamgauge::worker::{Failure, Message, Router};

/// What a video needs before it is ready.
const PARTS: i64 = 2;

pub(crate) async fn step(events: Events, file: Arc<EmbeddedFile>) -> anyhow::Result<Router<Json>> {
    let table = "CREATE TABLE IF NOT EXISTS done (video TEXT, part TEXT, PRIMARY KEY (video, part)) WITHOUT ROWID";
    file.write(|file| file.execute_batch(table)).await?;
    let ready = Ready { events, file };
    let (thumbnails, index) = (ready.clone(), ready);
    Ok(Router::new(Json)
        .on(move |made: Envelope<ThumbnailsMade>, _: Message| thumbnails.clone().done(made.payload.video, "thumbnails"))
        .on(move |indexed: Envelope<VideoIndexed>, _: Message| index.clone().done(indexed.payload.video, "index")))
}

#[derive(Clone)]
struct Ready {
    events: Events,
    file: Arc<EmbeddedFile>,
}

impl Ready {
    async fn done(self, video: String, part: &'static str) -> Result<(), Failure> {
        let noted = video.clone();
        let note = move |file: &rusqlite::Connection| {
            file.execute("INSERT OR IGNORE INTO done VALUES (?1, ?2)", (&noted, part))?;
            file.query_row("SELECT count(*) FROM done WHERE video = ?1", [&noted], |row| row.get::<_, i64>(0))
        };
        if self.file.write(note).await.map_err(Failure::retryable)? == PARTS {
            println!("ready: {video} is ready");
            tell(&self.events, &video, VideoReady { video: video.clone() }).await?;
        }
        Ok(())
    }
}
