use super::Event;
use super::scan::RawJson;
use super::text::{push_compact, push_quoted};

/// What ingest fills in when it stores an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// The event's own id, or the one made for it.
    pub event_id: &'a str,
    /// When it happened, in ms.
    pub timestamp_ms: i64,
    /// When ingest received it, in ms; absent in what a service publishes by itself.
    pub received_at_ms: Option<i64>,
    /// What ingest adds: a JSON object.
    pub context: Option<&'a str>,
}

impl Event<'_> {
    /// The canonical form, the value of the event's record: compact JSON. The payload and unknown fields keep
    /// every byte but white space; what the event does not have is left out.
    pub fn canonical(&self, stamp: &Stamp<'_>) -> String {
        let mut out = String::with_capacity(self.size_hint(stamp));
        out.push_str("{\"event_id\":");
        push_quoted(stamp.event_id, &mut out);
        out.push_str(",\"event_type\":");
        push_quoted(&self.event_type, &mut out);
        out.push_str(",\"event_version\":");
        out.push_str(itoa::Buffer::new().format(self.event_version));
        out.push_str(",\"timestamp\":");
        out.push_str(itoa::Buffer::new().format(stamp.timestamp_ms));
        if let Some(ms) = stamp.received_at_ms {
            out.push_str(",\"received_at\":");
            out.push_str(itoa::Buffer::new().format(ms));
        }
        for (name, text) in [("user_id", &self.user_id), ("session_id", &self.session_id)] {
            if let Some(text) = text {
                push_name(name, &mut out);
                push_quoted(text, &mut out);
            }
        }
        if let Some(payload) = self.payload {
            push_name("payload", &mut out);
            push_value(payload, &mut out);
        }
        if let Some(context) = stamp.context {
            push_name("context", &mut out);
            // It nearly always is compact already, and a look at all bytes without a branch is cheap.
            let spaces = context.bytes().fold(false, |found, byte| found | (byte <= b' '));
            if spaces { push_compact(context, &mut out) } else { out.push_str(context) }
        }
        for (name, value) in &self.extra {
            push_name(name, &mut out);
            push_value(*value, &mut out);
        }
        out.push('}');
        out
    }

    /// Room for all of it in the common case, so that the text is moved at most once.
    fn size_hint(&self, stamp: &Stamp<'_>) -> usize {
        let texts = [&self.user_id, &self.session_id].into_iter().flatten().map(|text| text.len()).sum::<usize>();
        let objects = self.payload.map_or(0, |p| p.get().len()) + stamp.context.map_or(0, str::len);
        let extra = self.extra.iter().map(|(name, value)| name.len() + value.get().len() + 8).sum::<usize>();
        192 + stamp.event_id.len() + self.event_type.len() + texts + objects + extra
    }
}

fn push_value(value: RawJson<'_>, out: &mut String) {
    if value.is_compact() { out.push_str(value.get()) } else { push_compact(value.get(), out) }
}

fn push_name(name: &str, out: &mut String) {
    out.push(',');
    push_quoted(name, out);
    out.push(':');
}

#[cfg(test)]
mod tests {
    use super::super::Door;
    use super::*;

    fn canonical(json: &str, context: Option<&str>) -> String {
        let event = Event::parse(json.as_bytes(), Door::Http).unwrap();
        let id = event.event_id.clone().unwrap_or("made".into());
        let stamp = Stamp {
            event_id: &id,
            timestamp_ms: event.time_ms(1_760_000_000_005),
            received_at_ms: Some(1_760_000_000_005),
            context,
        };
        event.canonical(&stamp)
    }

    #[test]
    fn known_fields_come_first_in_their_order() {
        let sent = r#" { "new": [ 1 , "a b" ], "properties": { "a" : "x\u0020\/ y", "a":1.0 }, "session_id":"s", "user_id":"u",
            "timestamp":"2025-10-09T08:53:20Z", "id":"e1", "type":"view", "event_version": 3, "n\"w": null } "#;
        assert_eq!(
            canonical(sent, Some("{ \"clock_skew_ms\": 5 }")),
            r#"{"event_id":"e1","event_type":"view","event_version":3,"timestamp":1760000000000,"#.to_owned()
                + r#""received_at":1760000000005,"user_id":"u","session_id":"s","#
                + r#""payload":{"a":"x\u0020\/ y","a":1.0},"context":{"clock_skew_ms":5},"new":[1,"a b"],"n\"w":null}"#
        );
    }

    #[test]
    fn what_is_absent_is_left_out() {
        assert_eq!(
            canonical(r#"{"type":"view","payload":null,"user_id":null}"#, None),
            r#"{"event_id":"made","event_type":"view","event_version":1,"timestamp":1760000000005,"received_at":1760000000005}"#
        );
    }
}
