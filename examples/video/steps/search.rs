//! video.transcoded → video.indexed

use super::{Events, tell};
use crate::events::{VideoIndexed, VideoTranscoded};
use streamgauge::envelope::{Envelope, Json};
use streamgauge::worker::{Message, Router};

pub(crate) fn step(events: Events) -> Router<Json> {
    Router::new(Json).on(move |transcoded: Envelope<VideoTranscoded>, _: Message| {
        let events = events.clone();
        async move {
            let VideoTranscoded { video, title, .. } = transcoded.payload;
            let words = title.split_whitespace().map(str::to_lowercase).collect();
            println!("search: {video} can be found");
            tell(&events, &video, VideoIndexed { video: video.clone(), words }).await
        }
    })
}
