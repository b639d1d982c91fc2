use crate::embedded::EmbeddedError;

/// Why the log did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A setting that cannot work.
    #[error("{key}: {what}")]
    Config {
        /// The key of the configuration.
        key: String,
        /// What is wrong and what to do.
        what: String,
    },
    /// A topic is missing and must not be created.
    #[error("topic `{0}` does not exist: create it, or set log.kafka.create_topics = true")]
    NoTopic(String),
    /// A topic could not be created.
    #[error("topic `{topic}` cannot be created: {reason}; check log.kafka.replication and the rights, or create it")]
    Create {
        /// Its name.
        topic: String,
        /// What Kafka said.
        reason: String,
    },
    /// A Kafka client could not be built.
    #[error("the Kafka client cannot be built: {0}; check [log.kafka.properties]")]
    Client(String),
    /// Kafka did not answer, or refused.
    #[error("Kafka at {brokers}: {reason}")]
    Kafka {
        /// Where it was asked.
        brokers: String,
        /// What came of it.
        reason: String,
    },
    /// Records were not acknowledged; some of them may have been stored.
    #[error("records were not acknowledged: {0}")]
    NotAcknowledged(String),
    /// More waits for acknowledgement than may; nothing of the rest was handed over.
    #[error("too many records wait for Kafka's acknowledgement; try again later")]
    Busy,
    /// A record is larger than the log takes.
    #[error("a record is larger than the topic takes; raise its max.message.bytes or send smaller events")]
    TooLarge,
    /// The embedded log has reached its size.
    #[error("the embedded log is full ({max_bytes} bytes): raise embedded.max_bytes, or see why counting stands still")]
    Full {
        /// Its limit.
        max_bytes: u64,
    },
    /// Records that were asked for are no longer, or not yet, in the log.
    #[error("partition {partition} does not hold offset {offset}")]
    OutOfRange {
        /// The partition.
        partition: i32,
        /// The offset that was asked for.
        offset: i64,
    },
    /// The embedded file failed.
    #[error("embedded log: {0}")]
    Embedded(#[from] EmbeddedError),
    /// The consumer was closed.
    #[error("the consumer is closed")]
    Closed,
}

impl LogError {
    /// Whether trying again may help without anybody changing anything of the configuration or the topic.
    pub fn is_retryable(&self) -> bool {
        match self {
            LogError::Config { .. } | LogError::NoTopic(_) | LogError::Client(_) | LogError::TooLarge => false,
            LogError::OutOfRange { .. } | LogError::Closed => false,
            // Brokers that are still on their way make a new topic impossible for a while.
            LogError::Create { .. } | LogError::Kafka { .. } | LogError::NotAcknowledged(_) | LogError::Busy => true,
            LogError::Full { .. } | LogError::Embedded(_) => true,
        }
    }
}

impl From<rusqlite::Error> for LogError {
    fn from(error: rusqlite::Error) -> LogError {
        LogError::Embedded(EmbeddedError::Job(error))
    }
}
