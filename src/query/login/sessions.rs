use std::collections::HashMap;
use std::fmt::Write;

/// How long a log-in lasts.
pub(super) const SESSION_S: i64 = 12 * 3_600;
/// Sessions at a time; the oldest ends for one more.
const MOST: usize = 10_000;

/// The sessions of this process, by name, each with the time of its end in ms.
#[derive(Default)]
pub(super) struct Sessions(HashMap<String, i64>);

impl Sessions {
    /// Begins one and tells its name, which nobody can guess.
    pub(super) fn begin(&mut self, now_ms: i64) -> String {
        self.0.retain(|_, ends_ms| *ends_ms > now_ms);
        if self.0.len() >= MOST
            && let Some(oldest) = self.0.iter().min_by_key(|(_, ends_ms)| **ends_ms).map(|(name, _)| name.clone())
        {
            self.0.remove(&oldest);
        }
        let name = rand::random::<[u8; 32]>().iter().fold(String::new(), |mut name, byte| {
            // Writing to a string cannot fail.
            let _ = write!(name, "{byte:02x}");
            name
        });
        self.0.insert(name.clone(), now_ms.saturating_add(SESSION_S * 1_000));
        name
    }

    /// Whether a session of that name goes on.
    pub(super) fn knows(&self, name: &str, now_ms: i64) -> bool {
        self.0.get(name).is_some_and(|ends_ms| *ends_ms > now_ms)
    }

    /// Ends one.
    pub(super) fn end(&mut self, name: &str) {
        self.0.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_by_itself_and_by_a_log_out() {
        let mut sessions = Sessions::default();
        let (one, other) = (sessions.begin(0), sessions.begin(1_000));
        assert!(one.len() == 64 && one != other);
        sessions.end(&other);
        assert!(sessions.knows(&one, SESSION_S * 1_000 - 1) && !sessions.knows(&other, 1_000));
        assert!(!sessions.knows(&one, SESSION_S * 1_000) && !sessions.knows("", 0));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let mut sessions = Sessions::default();
        let oldest = sessions.begin(0);
        let next = sessions.begin(1);
        for _ in 2..=MOST {
            sessions.begin(2);
        }
        assert_eq!(sessions.0.len(), MOST);
        assert!(!sessions.knows(&oldest, 3) && sessions.knows(&next, 3));
    }
}
