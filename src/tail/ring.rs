use serde_json::value::RawValue;
use std::collections::VecDeque;

/// An entry as it is handed on.
pub(super) type Json = Box<RawValue>;

/// The latest entries, by number: so many and so many bytes, whichever is reached first.
#[derive(Debug)]
pub(super) struct Ring {
    kept: VecDeque<(u64, Json)>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl Ring {
    pub(super) fn new(most: usize, most_bytes: usize) -> Ring {
        Ring { kept: VecDeque::new(), bytes: 0, most, most_bytes }
    }

    /// Takes one more, and answers the number of the latest one that had to go for it.
    pub(super) fn push(&mut self, number: u64, json: Json) -> Option<u64> {
        self.bytes += json.get().len();
        self.kept.push_back((number, json));
        let mut gone = None;
        while self.kept.len() > self.most || self.bytes > self.most_bytes {
            let Some((number, json)) = self.kept.pop_front() else { break };
            self.bytes -= json.get().len();
            gone = Some(number);
        }
        gone
    }

    /// Those with a number above this one, in their order.
    pub(super) fn after(&self, number: u64) -> impl Iterator<Item = &(u64, Json)> {
        let first = self.kept.partition_point(|(kept, _)| *kept <= number);
        self.kept.range(first..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(bytes: usize) -> Json {
        RawValue::from_string(format!("\"{}\"", "x".repeat(bytes - 2))).unwrap()
    }

    proptest! {
        #[test]
        fn it_holds_the_latest_within_its_bounds(sizes in prop::collection::vec(2_usize..60, 0..50)) {
            let (most, most_bytes) = (8, 200);
            let mut ring = Ring::new(most, most_bytes);
            for (number, size) in (1..).zip(&sizes) {
                let gone = ring.push(number, json(*size));
                prop_assert!(ring.kept.len() <= most && ring.bytes <= most_bytes);
                prop_assert_eq!(ring.bytes, ring.kept.iter().map(|(_, json)| json.get().len()).sum::<usize>());
                let numbers: Vec<u64> = ring.after(0).map(|(number, _)| *number).collect();
                let first = number + 1 - numbers.len() as u64;
                prop_assert_eq!(&numbers, &(first..=number).collect::<Vec<_>>());
                prop_assert!(gone.is_none_or(|gone| gone + 1 == first));
                prop_assert_eq!(ring.after(number - 1).count(), 1);
            }
        }
    }

    #[test]
    fn one_that_is_too_large_is_not_kept() {
        let mut ring = Ring::new(10, 10);
        assert_eq!((ring.push(1, json(11)), ring.bytes, ring.after(0).count()), (Some(1), 0, 0));
    }
}
