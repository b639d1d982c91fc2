use super::Desk;
use super::desk::Latest;
use super::notice::written;
use crate::clock::now_ms;
use crate::shutdown::Shutdown;
use crate::store::{Notices, StoreError};
use crate::telemetry::Metrics;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks whether somebody listens, and between two publications while somebody does.
const INTERVAL: Duration = Duration::from_secs(1);
/// The same while the store is away.
const WHILE_AWAY: Duration = Duration::from_secs(5);

/// Hands on what a desk keeps, as long as somebody listens, until the shutdown begins: first all of it, then what is
/// new. Nothing waits for it.
pub async fn publish(desk: Arc<Desk>, notices: Arc<dyn Notices>, metrics: Arc<Metrics>, shutdown: Shutdown) {
    if !desk.is_on() {
        return;
    }
    let publishing = async {
        let mut publisher = Publisher::new(&desk, &*notices, &metrics);
        loop {
            let pause = publisher.turn().await;
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = shutdown.begun() => {}
        () = publishing => {}
    }
}

pub(super) struct Publisher<'a> {
    desk: &'a Desk,
    notices: &'a dyn Notices,
    metrics: &'a Metrics,
    /// Tells this run of the process from others.
    source: String,
    /// The call that is being answered.
    call: Option<String>,
    /// The highest number that was handed on for it.
    told: u64,
    is_away: bool,
}

impl<'a> Publisher<'a> {
    pub(super) fn new(desk: &'a Desk, notices: &'a dyn Notices, metrics: &'a Metrics) -> Publisher<'a> {
        let source = format!("{:012x}", rand::random::<u64>() >> 16);
        Publisher { desk, notices, metrics, source, call: None, told: 0, is_away: false }
    }

    /// One look, and what it leads to; answers how long to wait until the next one.
    pub(super) async fn turn(&mut self) -> Duration {
        match self.answer().await {
            Ok(()) if self.is_away => {
                self.is_away = false;
                tracing::info!("the live tail is published again");
                INTERVAL
            }
            Ok(()) => INTERVAL,
            Err(error) => {
                self.metrics.tail_publish_errors_total.inc();
                // Whoever listens once the store is back has not got what was handed on for now.
                self.call = None;
                if !std::mem::replace(&mut self.is_away, true) {
                    tracing::warn!(%error, "the live tail cannot be published; events are taken as ever");
                }
                WHILE_AWAY
            }
        }
    }

    async fn answer(&mut self) -> Result<(), StoreError> {
        let called = self.notices.called().await?;
        if called.is_none() {
            self.desk.unheard();
            self.call = None;
            return Ok(());
        }
        if self.call != called {
            self.told = 0;
        }
        let Latest { entries, counts, dropped } = self.desk.latest(self.told, now_ms());
        for (why, entries) in [("rate", dropped.rate), ("ring", dropped.ring)] {
            self.metrics.tail_dropped_entries_total.with_label_values(&[why]).inc_by(entries);
        }
        self.notices.publish(&written(&self.source, &entries, &counts)).await?;
        self.call = called;
        self.told = entries.last().map_or(self.told, |(number, _)| *number);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::notice::Notice;
    use super::super::{Refusal, Shape};
    use super::*;
    use crate::store::LocalNotices;

    fn refuse(desk: &Desk, error: &str) {
        let refusal = Refusal { site: None, reason: "field", status: None, field: None, error };
        desk.refused(now_ms(), &[refusal], |_| Some(Shape::default()));
    }

    async fn heard(notices: &LocalNotices, position: &mut Option<String>) -> Vec<String> {
        let mut errors = Vec::new();
        for text in notices.read(position).await.unwrap() {
            let notice: Notice = serde_json::from_str(&text).unwrap();
            errors.extend(notice.entries.into_iter().filter_map(|(_, entry)| entry.error));
        }
        errors
    }

    #[tokio::test]
    async fn nothing_is_published_until_somebody_listens_and_then_first_what_was_before() {
        let (desk, notices, metrics) = (Desk::new(true), LocalNotices::default(), Metrics::new().unwrap());
        let (mut publisher, mut position) = (Publisher::new(&desk, &notices, &metrics), None);
        refuse(&desk, "one");
        publisher.turn().await;
        assert!(notices.read(&mut position).await.unwrap().is_empty());
        notices.call("a").await.unwrap();
        publisher.turn().await;
        assert_eq!(heard(&notices, &mut position).await, ["one"]);
        refuse(&desk, "two");
        publisher.turn().await;
        publisher.turn().await;
        assert_eq!(heard(&notices, &mut position).await, ["two"], "what was told is not told again");
        // Somebody else began to listen, and gets all of it.
        notices.call("b").await.unwrap();
        publisher.turn().await;
        assert_eq!(heard(&notices, &mut position).await, ["one", "two"]);
    }
}
