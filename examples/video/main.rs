//! Choreography: what happens to an uploaded video follows from who listens, not from a plan in the middle.
//! README.md beside this file shows it at work.
#![allow(clippy::print_stdout, reason = "an example tells people what it does")]

mod events;
#[path = "../shared/mod.rs"]
mod shared;
mod steps;

use clap::{Parser, Subcommand};
use events::VideoUploaded;
use shared::{Kafka, Services};
use std::path::PathBuf;
use std::time::Duration;
use steps::{ready, search, tell, thumbnails, transcode};
use streamgauge::embedded::{self, EmbeddedFile};
use streamgauge::worker::Config;

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    kafka: Kafka,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Uploads videos.
    Upload {
        /// Their titles.
        #[arg(default_values = ["Cats at play", "Cats asleep"])]
        titles: Vec<String>,
    },
    /// Runs all steps. In earnest each would be a program of its own.
    Steps {
        /// Where the last step remembers what is done.
        #[arg(long, default_value = "data/video.db")]
        file: PathBuf,
        /// How long the slow steps take for a video.
        #[arg(long, default_value = "300ms", value_parser = humantime::parse_duration)]
        takes: Duration,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let services = Services::new(&args.kafka, "video")?;
    match args.command {
        Command::Upload { titles } => upload(&services, titles).await,
        Command::Steps { file, takes } => run(services, file, takes).await,
    }
}

async fn upload(services: &Services, titles: Vec<String>) -> anyhow::Result<()> {
    let events = services.publisher().await?;
    for title in titles {
        let video = uuid::Uuid::now_v7().to_string();
        tell(&events, &video, VideoUploaded { video: video.clone(), title: title.clone() }).await?;
        println!("uploaded {title:?} as {video}");
    }
    Ok(())
}

async fn run(mut services: Services, file: PathBuf, takes: Duration) -> anyhow::Result<()> {
    let events = services.publisher().await?;
    let file = EmbeddedFile::open(&embedded::Config { path: file, ..embedded::Config::default() }, false)?;
    services.work("transcode", Config::default(), transcode::step(events.clone(), takes))?;
    services.work("thumbnails", Config::default(), thumbnails::step(events.clone(), takes))?;
    services.work("search", Config::default(), search::step(events.clone()))?;
    services.work("ready", Config::default(), ready::step(events, file).await?)?;
    println!("video: all steps wait for uploads; Ctrl-C ends them");
    services.ended().await
}
