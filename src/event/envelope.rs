use super::lookup::{find, member};
use super::scan::{Members, RawJson};
use super::sent::{Field, Sent, Value};
use super::text::{Shape, is_deeper, lone_surrogate, unescaped};
use super::{Invalid, schema_id, time};
use std::borrow::Cow;

/// Levels of nesting that a payload may have; the payload itself is the first.
const MAX_DEPTH: usize = 32;

/// Through which door an event comes. It decides which fields it may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// `POST /events`: `context` and `received_at` are ingest's own and refused.
    Http,
    /// A record of the topic, written by ingest or by a producer of its own.
    Topic,
}

/// An event as it was sent, borrowed from its JSON.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// What happened: 1–128 bytes without control characters.
    pub event_type: Cow<'a, str>,
    /// Names the event: 1–128 bytes. A record without one is never a duplicate.
    pub event_id: Option<Cow<'a, str>>,
    /// Version of the payload's schema, at least 1.
    pub event_version: u64,
    /// When it happened, in ms, as the client says.
    pub timestamp_ms: Option<i64>,
    /// When ingest received it, in ms.
    pub received_at_ms: Option<i64>,
    /// Whose it is, at most 256 bytes.
    pub user_id: Option<Cow<'a, str>>,
    /// Which session it belongs to, at most 256 bytes.
    pub session_id: Option<Cow<'a, str>>,
    /// A JSON object.
    pub payload: Option<RawJson<'a>>,
    /// Where its members stand, as far as that is known.
    pub members: Members,
    /// A JSON object: what ingest added.
    pub context: Option<RawJson<'a>>,
    /// Top-level fields that are not known here. They are kept.
    pub extra: Vec<(Cow<'a, str>, RawJson<'a>)>,
}

impl<'a> Event<'a> {
    /// Reads one event.
    ///
    /// ```
    /// use streamgauge::event::{Door, Event};
    ///
    /// let event = Event::parse(br#"{"type":"click","properties":{"target":"buy"}}"#, Door::Http)?;
    /// assert_eq!(event.event_type, "click");
    /// let error = Event::parse(br#"{"type":"click","timestamp":"now"}"#, Door::Http).unwrap_err();
    /// assert_eq!(error.field(), Some("timestamp"));
    /// # Ok::<(), streamgauge::event::Invalid>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong with it, and in which field.
    pub fn parse(json: &'a [u8], door: Door) -> Result<Event<'a>, Invalid> {
        if door == Door::Topic
            && let Some(id) = schema_id(json)
        {
            return Err(Invalid::Framed(id));
        }
        let json = utf8(json)?;
        let shape = Shape::of(json);
        if shape.escapes
            && let Some(at) = lone_surrogate(json)
        {
            return Err(Invalid::LoneSurrogate(at));
        }
        let mut sent = Sent::default();
        sent.read(json, shape)?;
        Event::of(&mut sent, shape.openings, door)
    }

    /// Judges what was read. `openings`: no nesting is deeper than this.
    pub(super) fn of(sent: &mut Sent<'a>, openings: usize, door: Door) -> Result<Event<'a>, Invalid> {
        if door == Door::Http {
            refuse_reserved(sent)?;
        }
        let (payload, members) = payload(sent, openings)?.unzip();
        Ok(Event {
            event_type: event_type(sent)?,
            event_id: text(sent, &[Field::EventId, Field::Id, Field::MessageId], 1, 128)?.map(told),
            event_version: version(sent.take(Field::EventVersion))?,
            timestamp_ms: time_ms(sent, Field::Timestamp)?,
            received_at_ms: time_ms(sent, Field::ReceivedAt)?,
            user_id: text(sent, &[Field::UserId], 0, 256)?.map(told),
            session_id: text(sent, &[Field::SessionId], 0, 256)?.map(told),
            payload,
            members: members.unwrap_or_default(),
            context: object(sent, &[Field::Context])?.map(told),
            extra: std::mem::take(&mut sent.extra),
        })
    }

    /// Checks the fields of an event that was not parsed, but for its objects, by the rules of one that was.
    ///
    /// # Errors
    /// What is wrong with it, and in which field.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.event_type.is_empty() {
            return Err(Invalid::NoEventType);
        }
        check_type(Field::EventType, &self.event_type)?;
        for (field, text, least, most) in [
            (Field::EventId, &self.event_id, 1, 128),
            (Field::UserId, &self.user_id, 0, 256),
            (Field::SessionId, &self.session_id, 0, 256),
        ] {
            text.as_ref().map_or(Ok(()), |text| check_length(field, text, least, most))?;
        }
        check_version(self.event_version)?;
        self.timestamp_ms.map_or(Ok(()), |ms| check_time(Field::Timestamp, ms))
    }

    /// The value at a path in the payload.
    pub(super) fn payload_at(&self, path: &[Box<str>]) -> Option<RawJson<'a>> {
        let (payload, (name, rest)) = (self.payload?, path.split_first()?);
        match self.members.find(payload, name) {
            Ok(member) => find(member?, rest),
            Err(()) => find(payload, path),
        }
    }

    /// The text of that name in the payload; `None` when there is none, or something else than a text.
    pub fn payload_text(&self, name: &str) -> Option<Cow<'a, str>> {
        let payload = self.payload?;
        let found = self.members.find(payload, name).unwrap_or_else(|()| member(payload, name))?;
        found.get().starts_with('"').then(|| unescaped(found.get()))
    }

    /// When it happened, in ms: its timestamp, else its receipt, else the record's time.
    pub fn time_ms(&self, record_ms: i64) -> i64 {
        self.timestamp_ms.or(self.received_at_ms).unwrap_or(record_ms)
    }
}

fn utf8(json: &[u8]) -> Result<&str, Invalid> {
    // The basic check is the fast one; only a failure is worth the place of it.
    simdutf8::basic::from_utf8(json).map_err(|_| {
        let place = simdutf8::compat::from_utf8(json).err().map_or(0, |e| e.valid_up_to());
        Invalid::NotUtf8(place)
    })
}

fn refuse_reserved(sent: &mut Sent<'_>) -> Result<(), Invalid> {
    match sent.take_first(&[Field::Context, Field::ReceivedAt]) {
        Some((field, _)) => Err(Invalid::Reserved(field.name())),
        None => Ok(()),
    }
}

fn wrong_kind(field: Field, expected: &'static str, found: &Value<'_>) -> Invalid {
    Invalid::WrongKind { field: field.name(), expected, found: found.kind() }
}

/// What was said, whatever the name of the field.
fn told<T>((_, value): (Field, T)) -> T {
    value
}

fn event_type<'a>(sent: &mut Sent<'a>) -> Result<Cow<'a, str>, Invalid> {
    match text(sent, &[Field::EventType, Field::Type], 1, 128)? {
        None => Err(Invalid::NoEventType),
        Some((field, name)) => check_type(field, &name).map(|()| name),
    }
}

fn check_type(field: Field, name: &str) -> Result<(), Invalid> {
    check_length(field, name, 1, 128)?;
    if name.chars().any(char::is_control) { Err(Invalid::ControlCharacter(field.name())) } else { Ok(()) }
}

fn check_length(field: Field, text: &str, least: usize, most: usize) -> Result<(), Invalid> {
    match text.len() {
        found if found > most => Err(Invalid::TooLong { field: field.name(), most, found }),
        found if found < least => Err(Invalid::EmptyText(field.name())),
        _ => Ok(()),
    }
}

fn check_version(version: u64) -> Result<(), Invalid> {
    if version >= 1 { Ok(()) } else { Err(Invalid::TooSmall { field: Field::EventVersion.name(), least: 1 }) }
}

fn check_time(field: Field, ms: i64) -> Result<(), Invalid> {
    if time::is_sane(ms) { Ok(()) } else { Err(Invalid::AbsurdTime { field: field.name(), ms }) }
}

type Text<'a> = (Field, Cow<'a, str>);

fn text<'a>(sent: &mut Sent<'a>, fields: &[Field], least: usize, most: usize) -> Result<Option<Text<'a>>, Invalid> {
    match sent.take_first(fields) {
        None => Ok(None),
        Some((field, Value::Text(text))) => {
            check_length(field, &text, least, most)?;
            Ok(Some((field, text)))
        }
        Some((field, other)) => Err(wrong_kind(field, "a string", &other)),
    }
}

fn version(value: Value<'_>) -> Result<u64, Invalid> {
    match value {
        Value::Natural(version) => check_version(version).map(|()| version),
        Value::Negative(_) => check_version(0).map(|()| 0),
        value if value.is_absent() => Ok(1),
        other => Err(wrong_kind(Field::EventVersion, "an integer of at least 1", &other)),
    }
}

fn time_ms(sent: &mut Sent<'_>, field: Field) -> Result<Option<i64>, Invalid> {
    let ms = match sent.take(field) {
        value if value.is_absent() => return Ok(None),
        Value::Text(text) => time::rfc3339_ms(&text).ok_or(Invalid::NotATime(field.name()))?,
        Value::Natural(ms) => i64::try_from(ms).unwrap_or(i64::MAX),
        Value::Negative(ms) => ms,
        other => return Err(wrong_kind(field, "an RFC 3339 string or integer milliseconds", &other)),
    };
    check_time(field, ms).map(|()| Some(ms))
}

fn object<'a>(sent: &mut Sent<'a>, fields: &[Field]) -> Result<Option<(Field, RawJson<'a>)>, Invalid> {
    match sent.take_first(fields) {
        None => Ok(None),
        Some((field, Value::Raw(raw))) if raw.get().starts_with('{') => Ok(Some((field, raw))),
        Some((field, other)) => Err(wrong_kind(field, "an object", &other)),
    }
}

fn payload<'a>(sent: &mut Sent<'a>, openings: usize) -> Result<Option<(RawJson<'a>, Members)>, Invalid> {
    let Some((field, payload)) = object(sent, &[Field::Payload, Field::Properties])? else { return Ok(None) };
    if openings > MAX_DEPTH && is_deeper(payload.get(), MAX_DEPTH) {
        return Err(Invalid::TooDeep { field: field.name(), most: MAX_DEPTH });
    }
    let members = sent.members.filter(|(other, _)| *other == field).map(|(_, members)| members);
    Ok(Some((payload, members.unwrap_or_default())))
}
