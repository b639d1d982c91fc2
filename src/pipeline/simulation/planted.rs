//! Bugs that are easily made, planted in the simulated store and around the real parts. Each must be found. Those that
//! have to be planted in the pipeline itself are patches in tests/mutants.

use super::history::play;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planted {
    /// The store adds the counts, then sets the offset: it can crash in between.
    OffsetInASecondStep,
    /// The store takes every flush.
    OffsetsNotCompared,
    /// A lost answer is answered by sending the same counts again, with the start offset that is stored now.
    SentAgainWithOffsetReadAnew,
    /// After a start the ids of the horizon before it are not read again.
    HorizonNotReadAgain,
    /// Nobody looks whether the log is still the one that was counted.
    FingerprintNotCompared,
}

/// Plays until a history fails. Answers how many it took.
fn caught(planted: Planted) -> u64 {
    let most = super::histories();
    let failed = (1..=most).find(|seed| play(*seed, Some(planted), false).is_err());
    let Some(number) = failed else { panic!("{planted:?} was not found in {most} histories") };
    let what = play(number, Some(planted), false).unwrap_err();
    println!("{planted:?}: found after {number} histories\n    {what}");
    number
}

#[test]
fn an_offset_stored_in_a_second_step_is_found() {
    caught(Planted::OffsetInASecondStep);
}

#[test]
fn a_flush_that_compares_no_offsets_is_found() {
    caught(Planted::OffsetsNotCompared);
}

#[test]
fn counts_sent_again_with_the_offset_read_anew_are_found() {
    caught(Planted::SentAgainWithOffsetReadAnew);
}

#[test]
fn a_horizon_not_read_again_is_found() {
    caught(Planted::HorizonNotReadAgain);
}

#[test]
fn a_fingerprint_not_compared_is_found() {
    caught(Planted::FingerprintNotCompared);
}
