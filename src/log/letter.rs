//! Dead letters as they are found again: what their headers say, and which of them were redriven.

use super::dead_letter::NAMES;
use super::{Header, LogRecord};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// The header that says how often a record was redriven; on a mark, which letter was.
pub(super) const REDRIVEN: &str = "redriven";
/// The header of a mark that says to which topic.
pub(super) const REDRIVEN_TO: &str = "redriven-to";

/// Where a dead letter is: partition and offset in its dead-letter topic. In the embedded log, which has no such topic,
/// those of the record that died, and the consumer group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The group that could not process it, where that is needed to tell it from others.
    pub group: Option<String>,
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)?;
        self.group.iter().try_for_each(|group| write!(f, ":{group}"))
    }
}

impl FromStr for LetterId {
    type Err = String;

    fn from_str(text: &str) -> Result<LetterId, String> {
        let mut parts = text.splitn(3, ':');
        let partition = parts.next().and_then(|part| part.parse().ok()).filter(|partition| *partition >= 0);
        let offset = parts.next().and_then(|part| part.parse().ok()).filter(|offset| *offset >= 0);
        let group = parts.next().map(str::to_owned);
        match (partition, offset) {
            (Some(partition), Some(offset)) => Ok(LetterId { partition, offset, group }),
            _ => Err(format!("`{text}` is no id of a dead letter: they look like 3:42, as `dlq list` shows them")),
        }
    }
}

/// The record that died, and where: two letters that agree in this are copies of one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LetterOrigin {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its time in ms: tells it from a record at the same place of a topic that was made anew.
    pub time_ms: Option<i64>,
    /// The consumer group that could not process it.
    pub group: Option<String>,
}

/// A dead letter that was found again. What its headers do not say is absent: anybody may write to such a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLetter {
    /// Where it is.
    pub id: LetterId,
    /// Where the record came from.
    pub origin: Option<LetterOrigin>,
    /// Why it could not be processed.
    pub error: Option<String>,
    /// How often it was tried.
    pub attempts: Option<u32>,
    /// When it failed, in ms; without a header the time of the letter itself.
    pub failed_at_ms: Option<i64>,
    /// What was cut off.
    pub truncated: Option<String>,
    /// The original key.
    pub key: Option<Vec<u8>>,
    /// The original value.
    pub value: Option<Vec<u8>>,
    /// The record's own headers.
    pub headers: Vec<Header>,
}

impl KeptLetter {
    /// Bytes of key and value.
    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len)
    }

    /// What the record says it is: by its header, else by its value.
    pub fn event_type(&self) -> Option<Cow<'_, str>> {
        if let Some(header) = self.headers.iter().find(|header| header.name == "event_type") {
            return header.value.as_deref().map(String::from_utf8_lossy);
        }
        #[derive(Deserialize)]
        struct Typed {
            event_type: Option<String>,
            r#type: Option<String>,
        }
        let typed: Typed = serde_json::from_slice(self.value.as_deref()?).ok()?;
        typed.event_type.or(typed.r#type).map(Cow::Owned)
    }

    /// The headers with which it is redriven: its own, and how often that happened by now.
    pub fn redriven_headers(&self) -> Vec<Header> {
        let (before, mut headers): (Vec<_>, Vec<_>) =
            self.headers.iter().cloned().partition(|header| header.name == REDRIVEN);
        let before = before.iter().filter_map(|header| text(header)?.parse::<u32>().ok()).max().unwrap_or(0);
        headers.push(Header::text(REDRIVEN, before.saturating_add(1).to_string()));
        headers
    }
}

/// That a letter was redriven, as a record of its dead-letter topic: no value, and this in the headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Partition and offset of the letter.
    pub letter: (i32, i64),
    /// The record that had died.
    pub origin: Option<LetterOrigin>,
    /// The topic that got it.
    pub to: Option<String>,
    /// When, in ms.
    pub at_ms: Option<i64>,
}

impl Mark {
    /// The headers of the mark of a letter that this topic got.
    pub fn headers(letter: &KeptLetter, to: &str) -> Vec<Header> {
        let place = format!("{}:{}", letter.id.partition, letter.id.offset);
        let mut headers = vec![Header::text(REDRIVEN, place), Header::text(REDRIVEN_TO, to.to_owned())];
        if let Some(origin) = &letter.origin {
            headers.extend([
                Header::text("original-topic", origin.topic.clone()),
                Header::text("original-partition", origin.partition.to_string()),
                Header::text("original-offset", origin.offset.to_string()),
            ]);
            headers.extend(origin.time_ms.map(|ms| Header::text("original-timestamp", ms.to_string())));
            headers.extend(origin.group.clone().map(|group| Header::text("consumer-group", group)));
        }
        headers
    }
}

/// What a record of a dead-letter topic is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// A dead letter.
    Letter(KeptLetter),
    /// The mark of one that was redriven.
    Mark(Mark),
}

impl Kept {
    /// Reads a record of a dead-letter topic.
    pub fn of(record: LogRecord<'_>) -> Kept {
        let (told, own) =
            record.copied_headers().into_iter().partition::<Vec<_>, _>(|header| NAMES.contains(&&*header.name));
        let told = Told(told);
        let origin = told.origin();
        let marked = || own.iter().find(|header| header.name == REDRIVEN).and_then(text);
        // A record that died and has no value always says why it died.
        if record.value.is_none()
            && told.text("error").is_none()
            && let Some(letter) = marked().and_then(|place| place.parse::<LetterId>().ok())
        {
            let to = own.iter().find(|header| header.name == REDRIVEN_TO).and_then(text).map(str::to_owned);
            let letter = (letter.partition, letter.offset);
            return Kept::Mark(Mark { letter, origin, to, at_ms: record.time_ms });
        }
        Kept::Letter(KeptLetter {
            id: LetterId { partition: record.partition, offset: record.offset, group: None },
            origin,
            error: told.text("error"),
            attempts: told.number("attempts"),
            failed_at_ms: told.number("failed-at").or(record.time_ms),
            truncated: told.text("truncated"),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: own,
        })
    }
}

/// The headers that say where a dead letter came from.
struct Told(Vec<Header>);

impl Told {
    fn text(&self, name: &str) -> Option<String> {
        let header = self.0.iter().find(|header| header.name == name)?;
        header.value.as_deref().map(|value| String::from_utf8_lossy(value).into_owned())
    }

    fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    fn origin(&self) -> Option<LetterOrigin> {
        Some(LetterOrigin {
            topic: self.text("original-topic")?,
            partition: self.number("original-partition")?,
            offset: self.number("original-offset")?,
            time_ms: self.number("original-timestamp"),
            group: self.text("consumer-group"),
        })
    }
}

fn text(header: &Header) -> Option<&str> {
    header.value.as_deref().and_then(|value| std::str::from_utf8(value).ok())
}

/// The marks of a dead-letter topic: which letters were redriven.
#[derive(Debug, Default)]
pub struct Marks {
    all: Vec<Mark>,
    letters: HashMap<(i32, i64), usize>,
    origins: HashMap<LetterOrigin, usize>,
}

impl Marks {
    /// Takes one more.
    pub fn add(&mut self, mark: Mark) {
        let index = self.all.len();
        self.letters.insert(mark.letter, index);
        if let Some(origin) = &mark.origin {
            self.origins.insert(origin.clone(), index);
        }
        self.all.push(mark);
    }

    /// The mark of a letter, or of a copy of it.
    pub fn of(&self, letter: &KeptLetter) -> Option<&Mark> {
        let by_place = self.letters.get(&(letter.id.partition, letter.id.offset));
        let index = by_place.or_else(|| self.origins.get(letter.origin.as_ref()?))?;
        self.all.get(*index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Headers;

    #[derive(Debug)]
    struct Given(Vec<Header>);

    impl Headers for Given {
        fn each(&self, with: &mut dyn FnMut(&str, Option<&[u8]>)) {
            self.0.iter().for_each(|header| with(&header.name, header.value.as_deref()));
        }
    }

    fn kept(headers: Vec<Header>, value: Option<&[u8]>, place: (i32, i64)) -> Kept {
        let headers = Given(headers);
        let (partition, offset) = place;
        let (time_ms, key) = (Some(7), Some(&b"k"[..]));
        Kept::of(LogRecord { partition, offset, time_ms, key, value, headers: Some(&headers) })
    }

    fn letter(headers: Vec<Header>, value: Option<&[u8]>, place: (i32, i64)) -> KeptLetter {
        match kept(headers, value, place) {
            Kept::Letter(letter) => letter,
            Kept::Mark(mark) => panic!("{mark:?}"),
        }
    }

    fn told(offset: &'static str) -> Vec<Header> {
        let texts = [
            ("error", "why"),
            ("original-topic", "t"),
            ("original-partition", "2"),
            ("original-offset", offset),
            ("original-timestamp", "5"),
            ("attempts", "3"),
            ("failed-at", "6"),
            ("consumer-group", "g"),
            ("event_type", "view"),
        ];
        texts.into_iter().map(|(name, value)| Header::text(name, value)).collect()
    }

    #[test]
    fn an_id_is_written_as_it_is_read() {
        for text in ["0:0", "3:42", "1:2:a group: with colons"] {
            assert_eq!(text.parse::<LetterId>().unwrap().to_string(), text);
        }
        for text in ["", "3", "3:", ":4", "-1:4", "3:-4", "3:x", "99999999999:1", "3:99999999999999999999"] {
            assert!(text.parse::<LetterId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_letter_says_where_it_came_from_and_keeps_its_own_headers() {
        let letter = letter(told("9"), Some(b"v"), (1, 4));
        let origin = letter.origin.clone().unwrap();
        assert_eq!((origin.topic.as_str(), origin.partition, origin.offset, origin.time_ms), ("t", 2, 9, Some(5)));
        assert_eq!((letter.error.as_deref(), letter.attempts, letter.failed_at_ms), (Some("why"), Some(3), Some(6)));
        assert_eq!((letter.headers.len(), letter.size()), (1, 2));
        assert_eq!(letter.event_type().as_deref(), Some("view"));
    }

    #[test]
    fn a_record_that_somebody_else_wrote_is_a_letter_without_an_origin() {
        let letter = letter(Vec::new(), Some(br#"{"type":"click"}"#), (1, 4));
        assert_eq!((letter.origin.as_ref(), letter.error.as_deref()), (None, None));
        assert_eq!((letter.failed_at_ms, letter.event_type().as_deref()), (Some(7), Some("click")));
    }

    #[test]
    fn a_mark_is_read_as_it_was_written_and_marks_the_copies_too() {
        let redriven = letter(told("9"), Some(b"v"), (1, 4));
        let Kept::Mark(mark) = kept(Mark::headers(&redriven, "to"), None, (1, 8)) else { panic!("no mark") };
        assert_eq!((mark.letter, mark.to.as_deref(), mark.at_ms), ((1, 4), Some("to"), Some(7)));
        assert_eq!(mark.origin, redriven.origin);
        let mut marks = Marks::default();
        marks.add(mark);
        assert!(marks.of(&redriven).is_some());
        assert!(marks.of(&letter(told("9"), Some(b"v"), (0, 5))).is_some(), "a copy");
        assert!(marks.of(&letter(told("10"), Some(b"v"), (0, 4))).is_none());
    }

    #[test]
    fn what_only_looks_like_a_mark_is_a_letter() {
        let mut headers = told("9");
        headers.push(Header::text(REDRIVEN, "1:4"));
        letter(headers, None, (1, 5));
        letter(vec![Header::text(REDRIVEN, "1:4")], Some(b""), (1, 5));
        letter(vec![Header::text(REDRIVEN, "1")], None, (1, 5));
        letter(vec![Header { name: REDRIVEN.into(), value: None }], None, (1, 5));
    }

    #[test]
    fn each_redrive_counts() {
        let mut letter = letter(told("9"), Some(b"v"), (1, 4));
        for count in ["1", "2", "3"] {
            letter.headers = letter.redriven_headers();
            let counts: Vec<_> = letter.headers.iter().filter(|header| header.name == REDRIVEN).collect();
            assert_eq!(counts, [&Header::text(REDRIVEN, count)]);
        }
        assert_eq!(letter.headers.len(), 2);
    }
}
