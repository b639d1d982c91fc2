//! What others may see of a partition.

use super::{Partition, Phase};
use crate::counter::Fingerprint;
use crate::pipeline::reading::Tail;
use crate::window::Watermark;

impl Partition {
    /// Which partition of the topic it is.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Under which batches are to be merged. It changes whenever what was read before must not count.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// End of everything merged.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The store's offset, as far as we know.
    pub fn stored(&self) -> Option<i64> {
        self.stored
    }

    /// Whether the store must hold counts of it: it once did.
    pub fn was_stored(&self) -> bool {
        self.was_stored || self.stored.is_some()
    }

    /// What is left to read, while it reads.
    pub fn tail(&self) -> Option<Tail> {
        let (generation, from) = (self.generation, self.position);
        let to = self.high_watermark.filter(|end| *end > from)?;
        (self.phase == Phase::Running && self.paused.is_none()).then_some(Tail { generation, from, to })
    }

    /// The watermark over everything merged.
    pub fn watermark(&self) -> Watermark {
        self.watermark
    }

    /// Whether it counts or waits to count on.
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether its position is being looked up.
    pub fn is_locating(&self) -> bool {
        self.phase == Phase::Locating
    }

    /// Whether its reading waits.
    pub fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Why it is stopped, if it is.
    pub fn stopped(&self) -> Option<&str> {
        match &self.phase {
            Phase::Stopped { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// Whether nothing waits for the store.
    pub fn is_settled(&self) -> bool {
        self.pending.is_empty() && self.in_flight.is_none()
    }

    /// Whether what is read waits for dead letters to be stored.
    pub fn awaits_letters(&self) -> bool {
        !self.letters.is_empty()
    }

    /// Whether a whole segment waits: a flush is worth it before the next tick.
    pub fn has_full_segment(&self) -> bool {
        self.pending.len() > 1
    }

    /// Cells that wait for the store.
    pub fn pending_cells(&self) -> usize {
        let in_flight = self.in_flight.as_ref().map_or(0, |s| s.deltas.cells());
        in_flight + self.pending.iter().map(|s| s.deltas.cells()).sum::<usize>()
    }

    /// Records between the stored offset and the end of the log, if both are known.
    pub fn lag_records(&self) -> Option<i64> {
        Some((self.high_watermark? - self.stored.unwrap_or(self.position)).max(0))
    }

    /// The watermark as stored.
    pub fn stored_watermark(&self) -> Watermark {
        self.stored_watermark
    }

    /// A record that was counted, to see by it whether the log is still the same.
    pub fn anchor(&self) -> Option<Fingerprint> {
        self.anchor
    }

    /// Offsets and records that the ledger does not explain.
    pub fn unaccounted(&self) -> u64 {
        match (self.start_offset, self.stored) {
            (Some(start), Some(next)) => self.ledger.unaccounted(next - start),
            _ => 0,
        }
    }
}
