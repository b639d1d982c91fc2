use super::Traits;
use crate::store::{Day, Salt};
use std::sync::{PoisonError, RwLock};

/// How long a day's salt is held once the day is over: for requests that were received before midnight.
const GRACE_MS: i64 = 60_000;

/// The salts that this process knows: today's, and tomorrow's when it is near.
#[derive(Debug)]
pub struct Salts {
    wanted: bool,
    known: RwLock<Vec<(Day, Salt)>>,
}

impl Salts {
    /// None yet. `wanted`: whether any ids are to be made.
    pub fn new(wanted: bool) -> Salts {
        Salts { wanted, known: RwLock::default() }
    }

    /// Whether any ids are to be made.
    pub fn are_wanted(&self) -> bool {
        self.wanted
    }

    /// The id of a visitor whose request was received at this time; `None` while the day's salt is not known.
    pub fn id(&self, received_ms: i64, traits: &Traits<'_>) -> Option<String> {
        let day = Day::of(received_ms);
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(of, _)| *of == day).map(|(_, salt)| traits.id(salt))
    }

    /// A copy of a day's salt.
    pub(super) fn get(&self, day: Day) -> Option<Salt> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(of, _)| *of == day).and_then(|(_, salt)| Salt::of(salt.expose()))
    }

    /// Holds the salt of a day, in place of any other.
    pub(crate) fn put(&self, day: Day, salt: Salt) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(of, _)| *of != day);
        known.push((day, salt));
    }

    /// Wipes the salts of days that are over.
    pub(super) fn wipe(&self, now_ms: i64) {
        let is_over = |day: Day| day.next().begins_ms().saturating_add(GRACE_MS) <= now_ms;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(day, _)| !is_over(*day));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDNIGHT_MS: i64 = 1_760_054_400_000;

    #[test]
    fn an_id_is_of_the_day_of_its_receipt() {
        let salts = Salts::new(true);
        let traits = Traits { site: "shop", address: [203, 0, 113, 7].into(), user_agent: b"Firefox" };
        let id = |ms| salts.id(ms, &traits);
        assert_eq!(id(MIDNIGHT_MS), None);
        salts.put(Day::of(MIDNIGHT_MS - 1), Salt::of(&[1; 16]).unwrap());
        salts.put(Day::of(MIDNIGHT_MS), Salt::of(&[2; 16]).unwrap());
        let (before, after) = (id(MIDNIGHT_MS - 1).unwrap(), id(MIDNIGHT_MS).unwrap());
        assert_ne!(before, after, "nobody can tell that it is the same visitor");
        assert_eq!(id(MIDNIGHT_MS - 80_000_000).unwrap(), before);
        salts.wipe(MIDNIGHT_MS + GRACE_MS - 1);
        assert_eq!(id(MIDNIGHT_MS - 1).unwrap(), before, "a large body may take a moment");
        salts.wipe(MIDNIGHT_MS + GRACE_MS);
        assert_eq!((id(MIDNIGHT_MS - 1), id(MIDNIGHT_MS)), (None, Some(after)));
        salts.put(Day::of(MIDNIGHT_MS), Salt::of(&[1; 16]).unwrap());
        assert_eq!(id(MIDNIGHT_MS), Some(before), "another salt takes its place");
    }
}
