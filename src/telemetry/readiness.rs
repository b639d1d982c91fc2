use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a process does. One process can do all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes events in.
    Ingest,
    /// Counts them.
    Process,
    /// Answers questions about the counts.
    Query,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 3] = [Role::Ingest, Role::Process, Role::Query];

    /// The name in paths and messages.
    pub fn name(self) -> &'static str {
        match self {
            Role::Ingest => "ingest",
            Role::Process => "process",
            Role::Query => "query",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Absent,
    Ready,
    NotReady(String),
}

/// Whether each role of this process can do its job, and if not, why. Roles write it, `admin` reads it.
#[derive(Debug)]
pub struct Readiness {
    states: Mutex<[State; 3]>,
}

impl Readiness {
    /// For a process that has these roles; none of them is ready yet.
    pub fn new(roles: &[Role]) -> Readiness {
        let state = |role| if roles.contains(&role) { State::NotReady("starting".into()) } else { State::Absent };
        Readiness { states: Mutex::new(Role::ALL.map(state)) }
    }

    /// The role can do its job.
    pub fn ready(&self, role: Role) {
        self.set(role, State::Ready);
    }

    /// The role cannot do its job, for this reason.
    pub fn not_ready(&self, role: Role, reason: impl Into<String>) {
        self.set(role, State::NotReady(reason.into()));
    }

    /// What keeps the role from its job; `None` when nothing does. A role that this process does not have is
    /// not ready.
    pub fn reason(&self, role: Role) -> Option<String> {
        match &self.lock()[role as usize] {
            State::Ready => None,
            State::NotReady(reason) => Some(reason.clone()),
            State::Absent => Some(format!("this process does not {}", role.name())),
        }
    }

    /// The roles of this process, and whether each can do its job.
    pub fn all(&self) -> Vec<(Role, bool)> {
        let states = self.lock();
        let own = Role::ALL.into_iter().filter(|role| states[*role as usize] != State::Absent);
        own.map(|role| (role, states[role as usize] == State::Ready)).collect()
    }

    /// The roles of this process that cannot do their job, with the reason.
    pub fn reasons(&self) -> Vec<(Role, String)> {
        let states = self.lock();
        let reason = |role: Role| match &states[role as usize] {
            State::NotReady(reason) => Some((role, reason.clone())),
            State::Ready | State::Absent => None,
        };
        Role::ALL.into_iter().filter_map(reason).collect()
    }

    fn set(&self, role: Role, state: State) {
        let mut states = self.lock();
        if states[role as usize] != State::Absent && states[role as usize] != state {
            if let State::NotReady(reason) = &state {
                tracing::warn!(role = role.name(), reason, "not ready");
            } else {
                tracing::info!(role = role.name(), "ready");
            }
            states[role as usize] = state;
        }
    }

    fn lock(&self) -> MutexGuard<'_, [State; 3]> {
        // Nothing panics while it holds the lock, and a state is always whole.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_roles_of_the_process_count() {
        let readiness = Readiness::new(&[Role::Ingest]);
        assert_eq!(readiness.reasons(), [(Role::Ingest, "starting".into())]);
        readiness.ready(Role::Ingest);
        readiness.ready(Role::Query);
        assert_eq!(readiness.reasons(), []);
        assert_eq!(readiness.reason(Role::Query).unwrap(), "this process does not query");
        assert_eq!(readiness.all(), [(Role::Ingest, true)]);
        readiness.not_ready(Role::Ingest, "kafka is away");
        assert_eq!(readiness.all(), [(Role::Ingest, false)]);
        assert_eq!(readiness.reason(Role::Ingest).unwrap(), "kafka is away");
    }
}
