use rand::Rng;
use std::fmt;
use std::str::FromStr;

const LONGEST_TYPE: usize = 128;

/// Which types of events a run sends, and how often each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix {
    shares: Vec<(String, u32)>,
    /// The sum of all shares.
    whole: u32,
}

/// Why a text is no [`Mix`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: write types with their shares, like page_view=70,click=20,search=10")]
pub struct WrongMix(String);

impl Mix {
    /// The types, in their order.
    pub fn types(&self) -> impl ExactSizeIterator<Item = &str> {
        self.shares.iter().map(|(event_type, _)| event_type.as_str())
    }

    /// The place of a type, drawn by its share.
    pub(super) fn draw(&self, random: &mut impl Rng) -> usize {
        let mut at = random.random_range(0..self.whole);
        for (place, (_, share)) in self.shares.iter().enumerate() {
            match at.checked_sub(*share) {
                None => return place,
                Some(rest) => at = rest,
            }
        }
        0
    }
}

impl FromStr for Mix {
    type Err = WrongMix;

    fn from_str(text: &str) -> Result<Mix, WrongMix> {
        let (mut shares, mut whole) = (Vec::<(String, u32)>::new(), 0_u32);
        for part in text.split(',').map(str::trim) {
            let (event_type, share) = part.split_once('=').unwrap_or((part, "1"));
            if event_type.is_empty() || event_type.len() > LONGEST_TYPE || event_type.contains(char::is_control) {
                return Err(WrongMix(format!("`{event_type}` is no event type")));
            }
            if shares.iter().any(|(known, _)| known == event_type) {
                return Err(WrongMix(format!("`{event_type}` is there twice")));
            }
            let share = share.parse().ok().filter(|share| *share > 0);
            let share = share.ok_or_else(|| WrongMix(format!("the share of `{event_type}` is no number above 0")))?;
            let sum = whole.checked_add(share);
            whole = sum.ok_or_else(|| WrongMix("the shares are too large together".to_owned()))?;
            shares.push((event_type.to_owned(), share));
        }
        Ok(Mix { shares, whole })
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (event_type, share)) in self.shares.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{event_type}={share}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn a_mix_reads_back_and_draws_by_its_shares() {
        let mix: Mix = "page_view=70, click=20,search=10".parse().unwrap();
        assert_eq!(mix.to_string(), "page_view=70,click=20,search=10");
        let (mut random, mut drawn) = (StdRng::seed_from_u64(1), [0; 3]);
        (0..100_000).for_each(|_| drawn[mix.draw(&mut random)] += 1);
        for (count, share) in drawn.iter().zip([70_000, 20_000, 10_000_i32]) {
            assert!((count - share).abs() < 1_000, "{drawn:?}");
        }
    }

    #[test]
    fn one_type_needs_no_share() {
        assert_eq!("order placed".parse::<Mix>().unwrap().types().collect::<Vec<_>>(), ["order placed"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_an_example() {
        for (text, named) in [
            ("", "`` is no event type"),
            ("a=1,,b=2", "`` is no event type"),
            ("a=0", "share of `a`"),
            ("a=x", "share of `a`"),
            ("a=-1", "share of `a`"),
            ("a=1,a=2", "`a` is there twice"),
            ("a=4000000000,b=4000000000", "too large"),
        ] {
            let error = text.parse::<Mix>().unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("page_view=70"), "{error}");
        }
    }
}
