//! Brings dead letters to the log. A segment leaves for the store only after its letters are stored.

use super::Shared;
use crate::log::{self, DeadLetter, LogError};
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The dead letters of one batch of one partition.
pub(super) struct LetterBatch {
    pub(super) generation: u64,
    pub(super) letters: Vec<DeadLetter>,
}

/// Where workers hand dead letters over. Unbounded: the workers pause by the bytes that wait.
#[derive(Clone)]
pub(super) struct Letters {
    shared: Arc<Shared>,
    sender: UnboundedSender<LetterBatch>,
}

impl Letters {
    pub(super) fn send(&self, batch: LetterBatch) {
        self.shared.registry.letters_queued(bytes(&batch));
        // The receiver lives as long as the pipeline; without it nothing is flushed any more either.
        drop(self.sender.send(batch));
    }
}

#[expect(clippy::disallowed_methods, reason = "bounded by bytes: workers pause while too many wait")]
pub(super) fn channel(shared: &Arc<Shared>) -> (Letters, UnboundedReceiver<LetterBatch>) {
    let (sender, receiver) = unbounded_channel();
    (Letters { shared: shared.clone(), sender }, receiver)
}

/// Stores batch after batch, each as often as it takes. Ends when all workers are gone and all is stored.
pub(super) async fn run(shared: Arc<Shared>, mut batches: UnboundedReceiver<LetterBatch>) {
    while let Some(batch) = batches.recv().await {
        fail::fail_point!("letters-send", |_| std::process::abort());
        let failed = |attempt, error: &LogError| {
            shared.metrics.dead_letter_retries_total.inc();
            tracing::warn!(attempt, letters = batch.letters.len(), %error, "dead letters are not stored yet");
        };
        log::bury(&*shared.log, &batch.letters, failed).await;
        fail::fail_point!("letters-stored", |_| std::process::abort());
        stored(&shared, &batch);
    }
}

fn stored(shared: &Shared, batch: &LetterBatch) {
    shared.registry.letters_done(bytes(batch));
    let Some(first) = batch.letters.first() else { return };
    shared.report_dead_letters(first, &batch.letters);
    let offsets: Vec<i64> = batch.letters.iter().map(|letter| letter.offset).collect();
    let is_leaving = shared.registry.update(first.partition, |p| {
        p.letters_stored(batch.generation, &offsets);
        !p.is_running()
    });
    if is_leaving == Some(true) {
        // Whoever gets it next waits for its last flush.
        shared.wake.notify_one();
    }
}

fn bytes(batch: &LetterBatch) -> usize {
    batch.letters.iter().map(DeadLetter::bytes).sum()
}
