/// Why the store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A value of `[store]` cannot be used.
    #[error("{key}: {problem}")]
    Config {
        /// The configuration key.
        key: &'static str,
        /// What is wrong with its value, and what would be right.
        problem: String,
    },
    /// The store belongs to another configuration.
    #[error("{0}")]
    Layout(String),
    /// The store is there but would not keep its promises: it may evict keys.
    #[error("{place} is unfit: {problem}")]
    Unfit {
        /// Which store.
        place: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The store cannot answer or take writes at the moment.
    #[error("{place} is not available: {problem}")]
    Unavailable {
        /// Which store.
        place: String,
        /// Why, and what to do if it does not pass.
        problem: String,
    },
    /// Something else stands where the store's data should be. Nothing was written.
    #[error("{place} holds something that streamgauge did not write: {problem}; nothing was written")]
    Corrupt {
        /// Which store.
        place: String,
        /// What stands where.
        problem: String,
    },
    /// What was to be written with the note of a handled event cannot be.
    #[error("{place} refuses the handler's effects: {problem}")]
    Effects {
        /// Which store.
        place: String,
        /// What is wrong with them.
        problem: String,
        /// Whether some of them were applied all the same, and noted: another attempt would do nothing.
        is_partly: bool,
    },
    /// A flush that contradicts itself. Nothing was written.
    #[error("refused a flush that contradicts itself, which is a mistake of this program: {0}")]
    Contradiction(String),
}

impl StoreError {
    /// Whether the same call may succeed later without a restart: the store is away, or somebody can put it right
    /// while we wait.
    pub fn is_retryable(&self) -> bool {
        matches!(self, StoreError::Unavailable { .. } | StoreError::Unfit { .. })
    }
}
