//! What can happen to a video. Each step reads some of these and publishes others; that is all they know of each other.
#![allow(dead_code, reason = "who adds a step reads and publishes some of these, not all")]

use serde::{Deserialize, Serialize};
use streamgauge::envelope::Event;

/// A video is there, as it was recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VideoUploaded {
    pub(crate) video: String,
    pub(crate) title: String,
}

/// It can be played.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VideoTranscoded {
    pub(crate) video: String,
    pub(crate) title: String,
    pub(crate) heights: Vec<u32>,
}

/// It can be shown in a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ThumbnailsMade {
    pub(crate) video: String,
    pub(crate) thumbnails: u32,
}

/// It can be found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VideoIndexed {
    pub(crate) video: String,
    pub(crate) words: Vec<String>,
}

/// Everything that a viewer needs is done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VideoReady {
    pub(crate) video: String,
}

impl Event for VideoUploaded {
    const EVENT_TYPE: &'static str = "video.uploaded";
    const EVENT_VERSION: u32 = 1;
}

impl Event for VideoTranscoded {
    const EVENT_TYPE: &'static str = "video.transcoded";
    const EVENT_VERSION: u32 = 1;
}

impl Event for ThumbnailsMade {
    const EVENT_TYPE: &'static str = "video.thumbnails";
    const EVENT_VERSION: u32 = 1;
}

impl Event for VideoIndexed {
    const EVENT_TYPE: &'static str = "video.indexed";
    const EVENT_VERSION: u32 = 1;
}

impl Event for VideoReady {
    const EVENT_TYPE: &'static str = "video.ready";
    const EVENT_VERSION: u32 = 1;
}
