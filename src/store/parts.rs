//! A sum as two integers. Neither Lua nor SQLite adds up integers of any size; two parts, each far from the limits of
//! both, do.

/// What the higher part counts.
const BASE: i128 = 1_000_000_000_000_000;

/// A scaled sum: `high` times 10 to the power of 15, and `low`. Both have the same sign.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) high: i64,
    pub(super) low: i64,
}

impl From<i128> for Parts {
    fn from(sum: i128) -> Parts {
        // The remainder has 15 digits. A number has 18, so it takes more events than there are to overflow the rest.
        let high = i64::try_from(sum / BASE).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX });
        Parts { high, low: (sum % BASE) as i64 }
    }
}

impl From<Parts> for i128 {
    fn from(Parts { high, low }: Parts) -> i128 {
        i128::from(high) * BASE + i128::from(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn they_make_the_sum(sum in -(1_i128 << 90)..(1_i128 << 90)) {
            let parts = Parts::from(sum);
            prop_assert_eq!(i128::from(parts), sum);
            prop_assert!(parts.high.signum() * parts.low.signum() >= 0 && i128::from(parts.low).abs() < BASE);
        }
    }
}
