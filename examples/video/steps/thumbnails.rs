//! video.transcoded → video.thumbnails

use super::{Events, tell};
use crate::events::{ThumbnailsMade, VideoTranscoded};
use std::time::Duration;
use streamgauge::envelope::{Envelope, Json};
use streamgauge::worker::{Message, Router};

pub(crate) fn step(events: Events, takes: Duration) -> Router<Json> {
    Router::new(Json).on(move |transcoded: Envelope<VideoTranscoded>, _: Message| {
        let events = events.clone();
        async move {
            let video = transcoded.payload.video;
            tokio::time::sleep(takes).await;
            println!("thumbnails: {video} can be shown");
            tell(&events, &video, ThumbnailsMade { video: video.clone(), thumbnails: 5 }).await
        }
    })
}
