//! Seeded choices: the same seed, the same choices.

use std::time::Duration;

/// A stream of choices.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    state: u64,
    taken: Vec<u64>,
}

impl Choices {
    /// Those of one round of a campaign.
    pub(crate) fn of_round(seed: u64, round: usize) -> Choices {
        let state = seed ^ (round as u64).wrapping_mul(0xA076_1D64_78BD_642F);
        Choices { state, taken: Vec::new() }
    }

    fn next(&mut self) -> u64 {
        // splitmix64
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// What was chosen since this was last asked.
    pub(crate) fn taken(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.taken)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.between(0, n - 1)
    }

    /// A number from `least` to `most`.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        let chosen = least + self.next() % (most - least + 1);
        self.taken.push(chosen);
        chosen
    }

    /// So many milliseconds.
    pub(crate) fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }

    /// One of these.
    pub(crate) fn one_of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// True once in `n` times.
    pub(crate) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// These in another order.
    pub(crate) fn shuffled<T>(&mut self, mut things: Vec<T>) -> Vec<T> {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last as u64 + 1) as usize);
        }
        things
    }
}
