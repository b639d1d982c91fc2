//! The rules of an event written down a second time, for the recount: what a record is, when it happened, what it is
//! counted by. Nothing here is shared with the rooms that count.

use super::json::Json;

const FIELDS: [&str; 13] = [
    "event_type",
    "type",
    "event_id",
    "id",
    "message_id",
    "event_version",
    "timestamp",
    "received_at",
    "user_id",
    "session_id",
    "payload",
    "properties",
    "context",
];
const EARLIEST_MS: i64 = 946_684_800_000;
const TOO_LATE_MS: i64 = 4_133_980_800_000;
const KEY_BYTES: usize = 256;
const PAYLOAD_DEPTH: usize = 32;

/// A record of the topic that is an event.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub(super) event_type: String,
    pub(super) event_id: Option<String>,
    user_id: Option<String>,
    session_id: Option<String>,
    time_ms: Option<i64>,
    payload: Option<Json<'a>>,
    context: Option<Json<'a>>,
}

impl<'a> Told<'a> {
    /// `None`: it is no event, and has to be a dead letter.
    pub(super) fn read(value: &'a [u8]) -> Option<Told<'a>> {
        let json = Json::parse(std::str::from_utf8(value).ok()?).filter(|json| json.is_object())?;
        let members = json.members();
        let fields = Fields::of(&members)?;
        let event_type = fields.text(&["event_type", "type"], 1, 128)??;
        if event_type.chars().any(char::is_control) {
            return None;
        }
        let event_id = fields.text(&["event_id", "id", "message_id"], 1, 128)?;
        fields.version()?;
        let (timestamp, received) = (fields.time("timestamp")?, fields.time("received_at")?);
        let payload = fields.object(&["payload", "properties"])?;
        if payload.is_some_and(|payload| payload.depth() > PAYLOAD_DEPTH) {
            return None;
        }
        Some(Told {
            event_type,
            event_id,
            user_id: fields.text(&["user_id"], 0, 256)?,
            session_id: fields.text(&["session_id"], 0, 256)?,
            time_ms: timestamp.or(received),
            payload,
            context: fields.object(&["context"])?,
        })
    }

    /// The time it counts at.
    pub(super) fn counts_at(&self, record_ms: i64, max_ahead_ms: i64) -> i64 {
        match self.time_ms {
            Some(time) if time - record_ms <= max_ahead_ms => time,
            _ => record_ms,
        }
    }

    /// What it counts under.
    pub(super) fn key(&self, paths: &[Path]) -> String {
        let mut key = match paths {
            [one] => self.value(one),
            several => {
                let texts: Vec<String> = several.iter().map(|path| self.value(path)).collect();
                serde_json::to_string(&texts).unwrap_or_default()
            }
        };
        let end = (0..=KEY_BYTES.min(key.len())).rev().find(|at| key.is_char_boundary(*at));
        key.truncate(end.unwrap_or_default());
        key
    }

    pub(super) fn value(&self, path: &Path) -> String {
        let (object, names) = match path {
            Path::EventType => return self.event_type.clone(),
            Path::UserId => return self.user_id.clone().unwrap_or_default(),
            Path::SessionId => return self.session_id.clone().unwrap_or_default(),
            Path::Payload(names) => (self.payload, names),
            Path::Context(names) => (self.context, names),
        };
        let found = names.iter().try_fold(object, |value, name| {
            // The last of repeated names, as most readers of JSON take it.
            value.map(|value| value.members().into_iter().rfind(|(own, _)| own == name).map(|(_, inner)| inner))
        });
        found.flatten().map(as_text).unwrap_or_default()
    }
}

fn as_text(value: Json<'_>) -> String {
    if value.is_null() {
        return String::new();
    }
    value.string().unwrap_or_else(|| {
        let mut text = String::new();
        compact(value, &mut text);
        text
    })
}

/// Stops once the text is longer than any key: whatever follows would be cut.
fn compact(value: Json<'_>, out: &mut String) {
    if out.len() > KEY_BYTES {
        return;
    }
    let text = value.text();
    match text.as_bytes().first() {
        Some(b'{') => {
            out.push('{');
            for (at, (name, value)) in unrepeated(value.members()).into_iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                out.push_str(&serde_json::to_string(&name).unwrap_or_default());
                out.push(':');
                compact(value, out);
            }
            out.push('}');
        }
        Some(b'[') => {
            out.push('[');
            for (at, value) in value.elements().into_iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                compact(value, out);
            }
            out.push(']');
        }
        Some(b'"') => out.push_str(&serde_json::to_string(&value.string()).unwrap_or_default()),
        _ => out.push_str(text),
    }
}

/// Each name once: its first place, its last value.
fn unrepeated(members: Vec<(String, Json<'_>)>) -> Vec<(String, Json<'_>)> {
    let mut places = std::collections::HashMap::new();
    let mut once: Vec<(String, Json<'_>)> = Vec::new();
    for (name, value) in members {
        match places.get(&name) {
            Some(place) => {
                let place: usize = *place;
                once[place].1 = value;
            }
            None => {
                places.insert(name.clone(), once.len());
                once.push((name, value));
            }
        }
    }
    once
}

/// The known fields of an object. The outer `Option` of what they return: whether the field is as it must be.
struct Fields<'m, 'a>(&'m [(String, Json<'a>)]);

impl<'m, 'a> Fields<'m, 'a> {
    fn of(members: &'m [(String, Json<'a>)]) -> Option<Fields<'m, 'a>> {
        for field in FIELDS {
            let mut found = members.iter().filter(|(name, _)| name == field);
            let first = found.next();
            if found.next().is_some() {
                return None;
            }
            // A number that no machine number can be is no value of a field that could hold one.
            let objects = ["payload", "properties", "context"].contains(&field);
            let absurd = |value: Json<'_>| value.is_number() && !value.text().parse::<f64>().is_ok_and(f64::is_finite);
            if !objects && first.is_some_and(|(_, value)| absurd(*value)) {
                return None;
            }
        }
        Some(Fields(members))
    }

    fn first(&self, names: &[&str]) -> Option<Json<'a>> {
        let of = |name: &&str| self.0.iter().find(|(own, value)| own == name && !value.is_null());
        names.iter().find_map(of).map(|(_, value)| *value)
    }

    fn text(&self, names: &[&str], least: usize, most: usize) -> Option<Option<String>> {
        let Some(value) = self.first(names) else { return Some(None) };
        let text = value.string()?;
        (least..=most).contains(&text.len()).then_some(Some(text))
    }

    fn object(&self, names: &[&str]) -> Option<Option<Json<'a>>> {
        match self.first(names) {
            None => Some(None),
            Some(value) => value.is_object().then_some(Some(value)),
        }
    }

    fn version(&self) -> Option<()> {
        let Some(value) = self.first(&["event_version"]) else { return Some(()) };
        value.text().parse::<u64>().is_ok_and(|version| version >= 1).then_some(())
    }

    fn time(&self, name: &str) -> Option<Option<i64>> {
        let Some(value) = self.first(&[name]) else { return Some(None) };
        let ms = match value.string() {
            Some(text) => rfc3339_ms(&text)?,
            None => value.text().parse().ok()?,
        };
        (EARLIEST_MS..TOO_LATE_MS).contains(&ms).then_some(Some(ms))
    }
}

/// `2025-01-31T12:00:00.123+01:00`, in ms.
pub(super) fn rfc3339_ms(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i64>().ok()).flatten()
    };
    let mark = |at: usize, marks: &str| text.get(at..=at).is_some_and(|mark| marks.contains(mark));
    if !(mark(4, "-") && mark(7, "-") && mark(10, "Tt ") && mark(13, ":") && mark(16, ":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(usize::try_from(month - 1).ok()?)?;
    if !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut ms = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.len() - fraction.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let three: String = fraction[..digits].chars().chain("00".chars()).take(3).collect();
        ms = three.parse().ok().filter(|_| digits > 0)?;
        rest = &fraction[digits..];
    }
    let zone_s = zone_s(rest)?;
    // Days before a year, counted from year 1, less those before 1970.
    let years = |year: i64| year * 365 + year / 4 - year / 100 + year / 400;
    let months: i64 = lengths[..usize::try_from(month - 1).ok()?].iter().sum();
    let days = if year > 0 { years(year - 1) } else { -366 } - years(1_969) + months + day - 1;
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second.min(59) - zone_s) * 1_000 + ms)
}

fn zone_s(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, clock) = zone.strip_prefix('+').map(|clock| (1, clock)).or(zone.strip_prefix('-').map(|c| (-1, c)))?;
    let (hours, minutes) = clock.split_once(':')?;
    let two = |digits: &str| {
        let plain = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse::<i64>().ok()).flatten()
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// What a counter splits by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Path {
    EventType,
    UserId,
    SessionId,
    Payload(Vec<String>),
    Context(Vec<String>),
}

impl Path {
    /// A path of a configuration that has been checked; what it does not know names nothing.
    pub(super) fn of(text: &str) -> Path {
        match text {
            "event_type" => Path::EventType,
            "user_id" => Path::UserId,
            "session_id" => Path::SessionId,
            _ => match text.split_once('.') {
                Some(("context", rest)) => Path::Context(names(rest)),
                Some((_, rest)) => Path::Payload(names(rest)),
                None => Path::Payload(vec![text.to_owned()]),
            },
        }
    }
}

/// Splits at dots outside of quotes; a backslash in quotes takes the next character as it is.
fn names(path: &str) -> Vec<String> {
    let (mut names, mut quoted) = (vec![String::new()], false);
    let mut letters = path.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => quoted = !quoted,
            '.' if !quoted => names.push(String::new()),
            '\\' if quoted => names.last_mut().into_iter().for_each(|name| name.extend(letters.next())),
            plain => names.last_mut().into_iter().for_each(|name| name.push(plain)),
        }
    }
    names
}
