//! A step that somebody adds to examples/video: it scans uploads for viruses. No file of the other steps changes, and
//! none of them is restarted. It begins with the first upload that the topic holds, also those from before it was there.
#![allow(clippy::print_stdout, reason = "an example tells people what it does")]

#[path = "../video/events.rs"]
mod events;
#[path = "../shared/mod.rs"]
mod shared;

use clap::Parser;
use events::VideoUploaded;
use serde::{Deserialize, Serialize};
use shared::{Kafka, Services};
use streamgauge::envelope::{Envelope, Event, Json};
use streamgauge::publish::{Key, Outgoing};
use streamgauge::worker::{Config, Failure, Message, Router};

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    kafka: Kafka,
}

/// What came of a scan.
#[derive(Debug, Serialize, Deserialize)]
struct VideoScanned {
    video: String,
    clean: bool,
}

impl Event for VideoScanned {
    const EVENT_TYPE: &'static str = "video.scanned";
    const EVENT_VERSION: u32 = 1;
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut services = Services::new(&Args::parse().kafka, "video")?;
    let events = services.publisher().await?;
    let scan = Router::new(Json).on(move |uploaded: Envelope<VideoUploaded>, _: Message| {
        let events = events.clone();
        async move {
            let VideoUploaded { video, title } = uploaded.payload;
            let clean = !title.to_lowercase().contains("virus");
            println!("scan: {video} is {}", if clean { "clean" } else { "not clean" });
            let event_id = format!("{video}/{}", VideoScanned::EVENT_TYPE);
            let scanned = Outgoing::new(VideoScanned { video: video.clone(), clean }, Key::Order(video));
            events.publish(scanned.with_id(event_id)).await.map(drop).map_err(Failure::retryable)
        }
    });
    services.work("virus-scan", Config::default(), scan)?;
    println!("scan: waits for uploads; Ctrl-C ends it");
    services.ended().await
}
