//! The steps: each a consumer group of its own, which none of the others knows.

pub(crate) mod ready;
pub(crate) mod search;
pub(crate) mod thumbnails;
pub(crate) mod transcode;

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use streamgauge::envelope::{Event, Json};
use streamgauge::publish::{Key, Outgoing, Publisher};
use streamgauge::worker::Failure;

pub(crate) type Events = Arc<Publisher<Json>>;

/// Publishes what a step has done. The id follows from the video: a step that is done twice, for it died before its
/// commit, publishes the same event twice and not a second one. The key is the video, whose events keep their order.
pub(crate) async fn tell<P>(events: &Events, video: &str, what: P) -> Result<(), Failure>
where
    P: Event + Serialize + DeserializeOwned,
{
    let event = Outgoing::new(what, Key::Order(video.to_owned())).with_id(format!("{video}/{}", P::EVENT_TYPE));
    events.publish(event).await.map(drop).map_err(Failure::retryable)
}
