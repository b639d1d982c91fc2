//! video.uploaded → video.transcoded

use super::{Events, tell};
use crate::events::{VideoTranscoded, VideoUploaded};
use std::time::Duration;
use streamgauge::envelope::{Envelope, Json};
use streamgauge::worker::{Message, Router};

pub(crate) fn step(events: Events, takes: Duration) -> Router<Json> {
    Router::new(Json).on(move |uploaded: Envelope<VideoUploaded>, _: Message| {
        let events = events.clone();
        async move {
            let VideoUploaded { video, title } = uploaded.payload;
            tokio::time::sleep(takes).await;
            println!("transcode: {video} can be played");
            let transcoded = VideoTranscoded { video: video.clone(), title, heights: vec![1080, 720, 360] };
            tell(&events, &video, transcoded).await
        }
    })
}
