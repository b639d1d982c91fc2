use crate::envelope::CodecError;
use crate::log::LogError;

/// Why events were not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A key that identifies nothing. Nothing was sent.
    #[error("the key is empty: give it an id, or publish by Key::Random")]
    EmptyKey,
    /// The event cannot be written. Nothing was sent.
    #[error("{event_type}: {source}")]
    Codec {
        /// What it should have been.
        event_type: &'static str,
        /// What is wrong with it.
        source: CodecError,
    },
    /// The log did not acknowledge all of them, which leaves open which are stored: publish them again with these ids.
    #[error("it is open whether the events are stored: publish them again with the same ids; {source}")]
    Unacknowledged {
        /// Their ids, in the order in which they were given.
        event_ids: Vec<String>,
        /// What the log says.
        source: LogError,
    },
}

impl PublishError {
    /// Whether publishing the same events again, with the same ids, may help.
    pub fn is_retryable(&self) -> bool {
        match self {
            PublishError::EmptyKey | PublishError::Codec { .. } => false,
            PublishError::Unacknowledged { source, .. } => source.is_retryable(),
        }
    }
}
