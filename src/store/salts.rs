//! Salts of days: what ids of visitors are made with. Who has the salt of a day can tell whether an id is that of a guessed
//! visitor, so each is forgotten two days after its day began.

use super::StoreError;
use async_trait::async_trait;
use rand::TryRngCore;
use rand::rngs::OsRng;
use secrecy::{ExposeSecret, SecretBox};
use std::fmt;

const DAY_S: i64 = 86_400;
/// How long a salt is kept, from the beginning of its day.
const KEPT_S: i64 = 2 * DAY_S;

/// A day in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(i64);

impl Day {
    /// The day of a time in ms.
    pub fn of(ms: i64) -> Day {
        Day(ms.div_euclid(DAY_S * 1_000))
    }

    /// The one after it.
    pub fn next(self) -> Day {
        Day(self.0 + 1)
    }

    /// When it begins, in ms.
    pub fn begins_ms(self) -> i64 {
        self.0.saturating_mul(DAY_S * 1_000)
    }

    /// When its salt is forgotten, in unix seconds.
    pub fn forgotten_s(self) -> i64 {
        self.0.saturating_mul(DAY_S).saturating_add(KEPT_S)
    }

    /// How many days after the epoch it is.
    pub(super) fn number(self) -> i64 {
        self.0
    }

    /// The first of the days whose salts are kept at this time.
    pub(super) fn first_kept(now_ms: i64) -> Day {
        Day(Day::of(now_ms).0 - KEPT_S / DAY_S + 1)
    }
}

/// `2026-11-22`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.begins_ms()) {
            Ok(begins) => write!(f, "{}", begins.strftime("%Y-%m-%d")),
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

/// 128 random bits. They are never shown, and wiped when they are dropped.
#[derive(Debug)]
pub struct Salt(SecretBox<[u8; Salt::BYTES]>);

impl Salt {
    /// How many bytes it has.
    pub const BYTES: usize = 16;

    /// A new one, of the system's random source.
    ///
    /// # Errors
    /// When that fails.
    pub fn random() -> Result<Salt, StoreError> {
        let mut bytes = Box::new([0; Salt::BYTES]);
        let drawn = OsRng.try_fill_bytes(&mut *bytes);
        let problem = |error: rand::rand_core::OsError| StoreError::Unavailable {
            place: "the system's random source".to_owned(),
            problem: error.to_string(),
        };
        drawn.map_err(problem).map(|()| Salt(SecretBox::new(bytes)))
    }

    /// One that was kept; `None` when these bytes are none.
    pub fn of(bytes: &[u8]) -> Option<Salt> {
        bytes.try_into().ok().map(|bytes| Salt(SecretBox::new(Box::new(bytes))))
    }

    /// The bits themselves, for a key or for the store.
    pub fn expose(&self) -> &[u8; Salt::BYTES] {
        self.0.expose_secret()
    }
}

/// Where salts are kept. All processes that share it have the same salt for a day.
#[async_trait]
pub trait SaltStore: Send + Sync {
    /// The salt of a day: the one that is kept, else the offered one, which is kept from now on.
    ///
    /// # Errors
    /// When the store is away, or what it keeps is no salt.
    async fn agree(&self, day: Day, offered: &Salt) -> Result<Salt, StoreError>;

    /// Forgets the salts whose time is over, where the store does not do so by itself.
    ///
    /// # Errors
    /// When the store is away: they are still there, and it is to be called again.
    async fn forget(&self, now_ms: i64) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON_MS: i64 = 1_760_011_200_000;

    #[test]
    fn a_day_is_utc_and_its_salt_lasts_two_of_them() {
        let day = Day::of(NOON_MS);
        assert_eq!((day.to_string(), day.next().to_string()), ("2025-10-09".to_owned(), "2025-10-10".to_owned()));
        assert_eq!(Day::of(day.begins_ms()), day);
        assert_eq!(Day::of(day.begins_ms() - 1).next(), day);
        assert_eq!(day.forgotten_s() * 1_000, day.begins_ms() + 48 * 3_600 * 1_000);
        let forgotten_ms = day.forgotten_s() * 1_000;
        assert_eq!((Day::first_kept(forgotten_ms - 1), Day::first_kept(forgotten_ms)), (day, day.next()));
        assert_eq!(Day::of(-1).to_string(), "1969-12-31");
    }

    #[test]
    fn a_salt_is_random_and_not_shown() {
        let (one, other) = (Salt::random().unwrap(), Salt::random().unwrap());
        assert_ne!(one.expose(), other.expose());
        assert_eq!(Salt::of(one.expose()).unwrap().expose(), one.expose());
        assert!(Salt::of(&[1; 15]).is_none() && Salt::of(&[1; 17]).is_none());
        let shown = format!("{:?}", Salt::of(&[77; 16]).unwrap());
        assert!(!shown.contains("77") && !shown.contains("4d"), "{shown}");
    }
}
