//! Why something was not taken, in a few words that do not change: what refusals are counted by.

use crate::event::Invalid;

/// Why a request as a whole, or an event of it, was not taken.
///
/// Each kind of refusal says which of these it is: [`super::reject::Reject::reason`] for requests, and the conversion
/// below for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Another path than `/events`, or another method than POST.
    Address,
    /// A content type or an encoding that is not known here.
    Format,
    /// The body is larger than may be, as it came or inflated, or holds too many events.
    TooLarge,
    /// The body did not arrive in time, or broke off.
    Incomplete,
    /// The body cannot be taken apart into events.
    Malformed,
    /// None of the events can be taken.
    NoEvent,
    /// A parameter or a header that cannot be meant.
    Parameter,
    /// No write key, where one is needed.
    NoKey,
    /// A write key of nobody.
    UnknownKey,
    /// A page that may not send with this key.
    Origin,
    /// A bot, where none are taken.
    Bot,
    /// More requests than the key may make.
    KeyRate,
    /// More requests than an address may make.
    AddressRate,
    /// There is no room at the moment.
    Busy,
    /// The log did not acknowledge.
    NotStored,
    /// An event that is no JSON object.
    NotAnObject,
    /// An event that is no text.
    NotText,
    /// An event that says nothing of its type.
    NoType,
    /// A known field that stands there twice.
    Twice,
    /// A field that only ingest sets.
    Reserved,
    /// A field with another kind of value, or one out of its limits.
    Field,
    /// A time that cannot be read, or cannot be right.
    Time,
    /// An event that is too large.
    EventTooLarge,
}

impl Reason {
    /// Those of requests.
    #[cfg(test)]
    pub(super) const REQUESTS: &[Reason] = &[
        Reason::Address,
        Reason::Format,
        Reason::TooLarge,
        Reason::Incomplete,
        Reason::Malformed,
        Reason::NoEvent,
        Reason::Parameter,
        Reason::NoKey,
        Reason::UnknownKey,
        Reason::Origin,
        Reason::Bot,
        Reason::KeyRate,
        Reason::AddressRate,
        Reason::Busy,
        Reason::NotStored,
    ];
    /// Those of events.
    #[cfg(test)]
    pub(super) const EVENTS: &[Reason] = &[
        Reason::NotAnObject,
        Reason::NotText,
        Reason::NoType,
        Reason::Twice,
        Reason::Reserved,
        Reason::Field,
        Reason::Time,
        Reason::EventTooLarge,
    ];

    /// Its name in metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Reason::Address => "address",
            Reason::Format => "format",
            Reason::TooLarge => "too_large",
            Reason::Incomplete => "incomplete",
            Reason::Malformed => "malformed",
            Reason::NoEvent => "no_event",
            Reason::Parameter => "parameter",
            Reason::NoKey => "no_key",
            Reason::UnknownKey => "unknown_key",
            Reason::Origin => "origin",
            Reason::Bot => "bot",
            Reason::KeyRate => "key_rate",
            Reason::AddressRate => "address_rate",
            Reason::Busy => "busy",
            Reason::NotStored => "not_stored",
            Reason::NotAnObject => "not_an_object",
            Reason::NotText => "not_text",
            Reason::NoType => "no_type",
            Reason::Twice => "twice",
            Reason::Reserved => "reserved",
            Reason::Field => "field",
            Reason::Time => "time",
            Reason::EventTooLarge => "event_too_large",
        }
    }
}

impl From<&Invalid> for Reason {
    fn from(invalid: &Invalid) -> Reason {
        match invalid {
            Invalid::Empty
            | Invalid::Syntax { .. }
            | Invalid::NotAnObject(_)
            | Invalid::Tombstone
            | Invalid::NoRecordTime
            | Invalid::Framed(_) => Reason::NotAnObject,
            Invalid::NotUtf8(_) | Invalid::LoneSurrogate(_) => Reason::NotText,
            Invalid::NoEventType => Reason::NoType,
            Invalid::Twice(_) => Reason::Twice,
            Invalid::Reserved(_) => Reason::Reserved,
            Invalid::WrongKind { .. }
            | Invalid::EmptyText(_)
            | Invalid::TooLong { .. }
            | Invalid::TooSmall { .. }
            | Invalid::ControlCharacter(_)
            | Invalid::TooDeep { .. }
            | Invalid::Path { .. } => Reason::Field,
            Invalid::NotATime(_) | Invalid::AbsurdTime { .. } => Reason::Time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn the_metrics_begin_with_every_reason_at_zero() {
        let text = Metrics::new().unwrap().render().unwrap();
        for (metric, reasons) in [("requests", Reason::REQUESTS), ("events", Reason::EVENTS)] {
            let name = format!("streamgauge_ingest_refused_{metric}_total{{reason=");
            let mut there: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(&name)).collect();
            let mut expected: Vec<_> = reasons.iter().map(|reason| format!("\"{}\"}} 0", reason.label())).collect();
            there.sort_unstable();
            expected.sort();
            assert_eq!(there, expected, "{metric}");
        }
    }
}
