use std::fmt;

/// Why something is not an event, or why a path names nothing that an event has.
///
/// The texts go to clients and into dead letters. They never repeat what was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A record without a value.
    #[error("the record has no value (a tombstone)")]
    Tombstone,
    /// A record without a time.
    #[error("the record has no time")]
    NoRecordTime,
    /// A value in the frame of a schema registry, with the id of its schema.
    #[error(
        "the value is framed by a schema registry (schema id {0}): no codec here reads it; let its producer write plain \
         JSON, or protobuf where that is read, without the registry's serializer"
    )]
    Framed(u32),
    /// Nothing, or only white space.
    #[error("empty: an event is a JSON object with at least `event_type`")]
    Empty,
    /// Not UTF-8.
    #[error("not UTF-8: the byte at {0} is invalid")]
    NotUtf8(usize),
    /// A `\ud800`–`\udfff` without its other half: no string can hold it.
    #[error("half of a surrogate pair stands alone in the escape at byte {0}")]
    LoneSurrogate(usize),
    /// Not JSON.
    #[error("not valid JSON{}: {problem}", in_field(.field))]
    Syntax {
        /// The field that was being read.
        field: Option<&'static str>,
        /// What the parser says, and where.
        problem: String,
    },
    /// JSON, but not an object.
    #[error("an event is a JSON object, this is {0}")]
    NotAnObject(Kind),
    /// A known field more than once.
    #[error("`{0}` stands there twice")]
    Twice(&'static str),
    /// No event type.
    #[error("`event_type` (or `type`) is missing")]
    NoEventType,
    /// A field that only ingest sets.
    #[error("`{0}` is set by ingest: leave it out")]
    Reserved(&'static str),
    /// A field holds another kind of value than it should.
    #[error("`{field}` must be {expected}, not {found}")]
    WrongKind {
        /// The field as it was sent.
        field: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: Kind,
    },
    /// A string that must not be empty.
    #[error("`{0}` is empty: leave it out, or give it at least 1 byte")]
    EmptyText(&'static str),
    /// A string over its limit.
    #[error("`{field}` has {found} bytes, at most {most} are allowed")]
    TooLong {
        /// The field as it was sent.
        field: &'static str,
        /// Bytes that it may have.
        most: usize,
        /// Bytes that it has.
        found: usize,
    },
    /// An integer below its limit.
    #[error("`{field}` must be at least {least}")]
    TooSmall {
        /// The field as it was sent.
        field: &'static str,
        /// What it may be at least.
        least: u64,
    },
    /// A control character where none may be.
    #[error("`{0}` holds a control character")]
    ControlCharacter(&'static str),
    /// A string that is no time.
    #[error("`{0}` is not a time: write RFC 3339 with a zone, like \"2025-01-31T12:00:00Z\", or integer milliseconds")]
    NotATime(&'static str),
    /// A time that cannot be right.
    #[error("`{field}` lies outside of the years 2000 to 2100{}", seconds_hint(*.ms))]
    AbsurdTime {
        /// The field as it was sent.
        field: &'static str,
        /// What it was read as; the nearest that fits.
        ms: i64,
    },
    /// An object nested too deeply.
    #[error("`{field}` is nested deeper than {most} levels")]
    TooDeep {
        /// The field as it was sent.
        field: &'static str,
        /// Levels that it may have.
        most: usize,
    },
    /// A path that names nothing an event has.
    #[error("`{path}` {problem}")]
    Path {
        /// The path as configured.
        path: String,
        /// What is wrong and what is allowed.
        problem: &'static str,
    },
}

impl Invalid {
    /// The field at fault, as it was sent; `None` when it is the event as a whole.
    pub fn field(&self) -> Option<&str> {
        match self {
            Invalid::Syntax { field, .. } => *field,
            Invalid::NoEventType => Some("event_type"),
            Invalid::Twice(field)
            | Invalid::Reserved(field)
            | Invalid::EmptyText(field)
            | Invalid::ControlCharacter(field)
            | Invalid::NotATime(field)
            | Invalid::WrongKind { field, .. }
            | Invalid::TooLong { field, .. }
            | Invalid::TooSmall { field, .. }
            | Invalid::AbsurdTime { field, .. }
            | Invalid::TooDeep { field, .. } => Some(field),
            Invalid::Tombstone
            | Invalid::NoRecordTime
            | Invalid::Framed(_)
            | Invalid::Empty
            | Invalid::NotUtf8(_)
            | Invalid::LoneSurrogate(_)
            | Invalid::NotAnObject(_)
            | Invalid::Path { .. } => None,
        }
    }
}

fn in_field(field: &Option<&str>) -> String {
    field.map(|field| format!(" in `{field}`")).unwrap_or_default()
}

/// The usual mistake is to send seconds.
fn seconds_hint(ms: i64) -> &'static str {
    if super::time::is_sane(ms.saturating_mul(1_000)) {
        ": it looks like seconds, milliseconds are expected"
    } else {
        ""
    }
}

/// What a JSON value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean,
    /// A whole number that fits 64 bits.
    Integer,
    /// Any other number.
    Number,
    /// A string.
    Text,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl Kind {
    /// Guesses by the first byte of a value's text; `None` if no value begins so.
    pub(super) fn of(first: u8) -> Option<Kind> {
        Some(match first {
            b'n' => Kind::Null,
            b't' | b'f' => Kind::Boolean,
            b'-' | b'0'..=b'9' => Kind::Number,
            b'"' => Kind::Text,
            b'[' => Kind::Array,
            b'{' => Kind::Object,
            _ => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Null => "null",
            Kind::Boolean => "a boolean",
            Kind::Integer => "an integer",
            Kind::Number => "a number",
            Kind::Text => "a string",
            Kind::Array => "an array",
            Kind::Object => "an object",
        })
    }
}
