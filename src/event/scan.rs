//! The fast way through the events that nearly all are: plain ones, without an escape and with no white space but blanks.
//!
//! It only ever says yes. Whatever it does not know, wrong or merely rare, is left to the parser in `sent`, whose verdict
//! and words count; so what must hold here is that it accepts nothing that the parser refuses, and reads it the same.

use super::sent::{Field, Sent, Value};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Levels of nesting of an object, itself the first; what is deeper is left to the parser.
pub(super) const DEPTH: usize = 32;
/// Digits of a number that fits 64 bits in any case.
const DIGITS: usize = 18;

/// The text of a JSON value that was found valid, without white space around it.
#[derive(Debug, Clone, Copy)]
pub struct RawJson<'a> {
    text: &'a str,
    /// It was found plain, too: what is in it can be looked up by this scanner.
    plain: bool,
    /// No white space stands between its tokens.
    compact: bool,
}

impl<'a> RawJson<'a> {
    /// The text.
    pub fn get(self) -> &'a str {
        self.text
    }

    /// Whether it is known to have no white space between its tokens.
    pub(super) fn is_compact(self) -> bool {
        self.compact
    }
}

impl<'a> From<&'a RawValue> for RawJson<'a> {
    fn from(raw: &'a RawValue) -> RawJson<'a> {
        RawJson { text: raw.get(), plain: false, compact: false }
    }
}

/// Where the members of an object stand, so that one is found without another pass. The default is not to know.
#[derive(Debug, Clone, Copy, Default)]
pub struct Members {
    /// From and to where in the object's text each name and each value goes.
    spans: [[u16; 4]; 8],
    count: usize,
    /// No member is missing.
    all: bool,
}

impl Members {
    /// The last member of that name; `Err` when not all of them are known.
    pub(super) fn find<'a>(&self, object: RawJson<'a>, name: &str) -> Result<Option<RawJson<'a>>, ()> {
        if !self.all {
            return Err(());
        }
        let text = |from: u16, to: u16| object.text.get(usize::from(from)..usize::from(to));
        let is_named = |[from, to, ..]: &&[u16; 4]| text(*from, *to) == Some(name);
        let found = self.spans[..self.count].iter().rev().find(is_named);
        let value = found.and_then(|[.., from, to]| text(*from, *to));
        Ok(value.map(|text| RawJson { text, plain: true, compact: false }))
    }

    /// Notes a member; `None` when there is no room for it.
    fn note(&mut self, object: &str, name: &str, value: &str) -> Option<()> {
        let place = |part: &str, at: usize| u16::try_from(part.as_ptr() as usize - object.as_ptr() as usize + at).ok();
        let span = [place(name, 0)?, place(name, name.len())?, place(value, 0)?, place(value, value.len())?];
        *self.spans.get_mut(self.count)? = span;
        self.count += 1;
        Some(())
    }
}

/// Reads the top-level fields of an event whose text has neither a backslash nor a control character; `None` when it is for
/// the parser to say what it is.
pub(super) fn read<'a>(plain: &'a str, sent: &mut Sent<'a>) -> Option<()> {
    let end = first(plain, sent)?;
    plain.bytes().skip(end).all(|byte| byte == b' ').then_some(())
}

/// The same of the object that such a text begins with. Answers where it ends.
pub(super) fn first<'a>(plain: &'a str, sent: &mut Sent<'a>) -> Option<usize> {
    let mut scan = Scanner::of(plain);
    scan.blanks();
    scan.object(|scan, name| {
        match Field::named(name) {
            None => sent.extra.push((Cow::Borrowed(name), scan.value()?)),
            Some(field @ (Field::Payload | Field::Properties)) => {
                let (value, members) = scan.noted()?;
                sent.put(field, value)?;
                sent.members = Some((field, members));
            }
            Some(field) => sent.put(field, if field.is_object() { scan.raw()? } else { scan.scalar()? })?,
        }
        Some(())
    })?;
    Some(scan.at)
}

/// The member of that name, the last one if there are several; `Err` when this is for the parser.
pub(super) fn member<'a>(object: RawJson<'a>, name: &str) -> Result<Option<RawJson<'a>>, ()> {
    if !object.plain {
        return Err(());
    }
    let mut found = None;
    let mut scan = Scanner::of(object.text);
    let scanned = scan.object(|scan, other| {
        let value = scan.value()?;
        if other == name {
            found = Some(value);
        }
        Some(())
    });
    scanned.map(|()| found).ok_or(())
}

/// Each step answers `None` where the text is not what it expects.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// Blanks between tokens so far.
    skipped: usize,
}

impl<'a> Scanner<'a> {
    fn of(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0, skipped: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
            self.skipped += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// An object: `member` takes each value, which may have blanks before it.
    fn object(&mut self, mut member: impl FnMut(&mut Scanner<'a>, &'a str) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        self.blanks();
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            let name = self.name()?;
            member(self, name)?;
            self.blanks();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
            self.blanks();
        }
    }

    /// The name of a member, with the colon behind it.
    fn name(&mut self) -> Option<&'a str> {
        let name = self.string()?;
        self.blanks();
        self.take(b':')?;
        self.blanks();
        Some(name)
    }

    fn string(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let from = self.at;
        let to = from + quote(self.text.as_bytes().get(from..)?)?;
        self.at = to + 1;
        self.text.get(from..to)
    }

    /// A value of a field that holds an object, whatever it is.
    fn raw(&mut self) -> Option<Value<'a>> {
        let value = self.value()?;
        Some(if value.text == "null" { Value::null() } else { Value::Raw(value) })
    }

    /// The same of one that is looked into later.
    fn noted(&mut self) -> Option<(Value<'a>, Members)> {
        let mut members = Members { all: true, ..Members::default() };
        if self.peek()? != b'{' {
            return Some((self.raw()?, Members::default()));
        }
        let (from, skipped) = (self.at, self.skipped);
        let object = self.text.get(from..)?;
        self.object(|scan, name| {
            let value = scan.value()?;
            members.all &= members.note(object, name, value.text).is_some();
            Some(())
        })?;
        let compact = self.skipped == skipped;
        Some((Value::Raw(RawJson { text: self.text.get(from..self.at)?, plain: true, compact }), members))
    }

    /// A text, a natural number, or null: anything else in such a field is for the parser.
    fn scalar(&mut self) -> Option<Value<'a>> {
        match self.peek()? {
            b'"' => self.string().map(|text| Value::Text(Cow::Borrowed(text))),
            b'n' => self.word("null").map(|()| Value::null()),
            _ => self.natural().map(Value::Natural),
        }
    }

    fn natural(&mut self) -> Option<u64> {
        let digits = self.digits()?;
        let rest = matches!(self.peek(), Some(b'.' | b'e' | b'E'));
        if rest || digits.len() > DIGITS || digits.len() > 1 && digits.starts_with('0') {
            return None;
        }
        digits.parse().ok()
    }

    fn digits(&mut self) -> Option<&'a str> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.text.get(from..self.at).filter(|digits| !digits.is_empty())
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text.get(self.at..)?.starts_with(word).then(|| self.at += word.len())
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.take(b'-');
        let whole = self.digits()?;
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if self.take(b'e').or_else(|| self.take(b'E')).is_some() {
            let _ = self.take(b'+').or_else(|| self.take(b'-'));
            self.digits()?;
        }
        Some(())
    }

    /// Any value. It does not call itself: nothing that is written can exhaust the stack.
    fn value(&mut self) -> Option<RawJson<'a>> {
        let (from, skipped) = (self.at, self.skipped);
        // Which of the open levels are objects, the innermost in the lowest bit.
        let (mut depth, mut objects) = (0_usize, 0_u64);
        loop {
            let opened = match self.peek()? {
                b'{' => Some(1),
                b'[' => Some(0),
                b'"' => self.string().map(|_| None)?,
                b't' => self.word("true").map(|()| None)?,
                b'f' => self.word("false").map(|()| None)?,
                b'n' => self.word("null").map(|()| None)?,
                _ => self.number().map(|()| None)?,
            };
            if let Some(object) = opened {
                self.at += 1;
                (depth, objects) = (depth + 1, objects << 1 | object);
                self.blanks();
                if depth >= DEPTH {
                    return None;
                }
                if self.peek()? != closing(objects) {
                    if object == 1 {
                        self.name()?;
                    }
                    continue;
                }
            }
            while depth > 0 {
                self.blanks();
                match self.peek()? {
                    b',' => break,
                    byte if byte == closing(objects) => (depth, objects) = (depth - 1, objects >> 1),
                    _ => return None,
                }
                self.at += 1;
            }
            if depth == 0 {
                let compact = self.skipped == skipped;
                return self.text.get(from..self.at).map(|text| RawJson { text, plain: true, compact });
            }
            self.at += 1;
            self.blanks();
            if objects & 1 == 1 {
                self.name()?;
            }
        }
    }
}

/// Where the first quote is. Most texts are short: eight bytes at a time beat the start of anything cleverer.
fn quote(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        // A byte of this is 0 where a quote is; the lowest 0 is found by the borrow of the subtraction.
        let quotes = u64::from_le_bytes(*word) ^ (ONES * b'"' as u64);
        let found = quotes.wrapping_sub(ONES) & !quotes & (ONES << 7);
        if found != 0 {
            return Some(at * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|byte| *byte == b'"')?;
    Some(words.len() * 8 + at)
}

fn closing(objects: u64) -> u8 {
    if objects & 1 == 1 { b'}' } else { b']' }
}

#[cfg(test)]
mod tests {
    use super::super::text::{Shape, push_compact};
    use super::*;
    use proptest::prelude::*;

    /// What was read, as far as it can be compared.
    fn told(sent: Sent<'_>) -> String {
        format!("{:?}", sent.told())
    }

    fn agrees(text: &str) -> Result<bool, String> {
        if !Shape::of(text).is_plain {
            return Ok(false);
        }
        let mut fast = Sent::default();
        if read(text, &mut fast).is_none() {
            return Ok(false);
        }
        for (_, raw) in &fast.extra {
            let mut compact = String::new();
            push_compact(raw.get(), &mut compact);
            if raw.is_compact() != (compact == raw.get()) {
                return Err(format!("{} is compact: {}", raw.get(), raw.is_compact()));
            }
        }
        let slow = Sent::parse(text).map_err(|error| format!("{text} was accepted: {error}"))?;
        let (fast, slow) = (told(fast), told(slow));
        if fast == slow { Ok(true) } else { Err(format!("{text}: {fast} instead of {slow}")) }
    }

    #[test]
    fn plain_events_are_read_and_the_rest_is_left_to_the_parser() {
        for plain in [
            "{}",
            r#"{"type":"a"}"#,
            r#" { "type" : "a" , "payload" : { "b" : [ 1 , -2.5e+3 , true , false , null , { } , [ ] ] } , "x" : 0 } "#,
            r#"{"timestamp":1760000000000,"user_id":null,"payload":null,"properties":"text","é":"ü"}"#,
            r#"{"payload":[[[]],{"a":{}}],"context":7}"#,
        ] {
            assert_eq!(agrees(plain), Ok(true), "{plain}");
        }
        for rest in [
            "",
            "[]",
            r#"{"type":"a"}}"#,
            r#"{"type":"a""#,
            r#"{"type":"a",}"#,
            r#"{"type":true}"#,
            r#"{"timestamp":01}"#,
            r#"{"timestamp":1.0}"#,
            r#"{"timestamp":-1}"#,
            r#"{"event_version":9999999999999999999}"#,
            r#"{"type":"a","type":"b"}"#,
            r#"{"payload":{"a":[1}]}"#,
            r#"{"payload":{"a"}}"#,
            r#"{"payload":{"a":1,}}"#,
            r#"{"payload":[,1]}"#,
            r#"{"payload":[1 2]}"#,
            r#"{"payload":1.}"#,
            r#"{"payload":nul}"#,
            "{\"a\":\"\t\"}",
        ] {
            assert_eq!(agrees(rest), Ok(false), "{rest}");
        }
        let nested = |depth: usize| format!("{{\"payload\":{{\"a\":{}{}}}}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!((agrees(&nested(DEPTH - 1)), agrees(&nested(DEPTH))), (Ok(true), Ok(false)));
    }

    proptest! {
        #[test]
        fn it_accepts_nothing_that_the_parser_refuses(text in r#"[{}\[\]",:0-9truefalsn eE.+ -]{0,40}"#) {
            agrees(&text).map_err(TestCaseError::fail)?;
            agrees(&format!("{{\"payload\":{text}}}")).map_err(TestCaseError::fail)?;
            agrees(&format!("{{ \"x\": {text} ,\"y\" : [\" \",{text}] }}")).map_err(TestCaseError::fail)?;
            agrees(&format!("{{\"timestamp\":{text}}}")).map_err(TestCaseError::fail)?;
        }

        #[test]
        fn it_reads_numbers_as_the_parser_does(text in "-?[0-9]{0,22}(\\.[0-9]{0,3})?([eE][+-]?[0-9]{0,3})?") {
            for field in ["timestamp", "payload", "x"] {
                agrees(&format!("{{\"{field}\":{text}}}")).map_err(TestCaseError::fail)?;
                agrees(&format!("{{\"{field}\":[{text}]}}")).map_err(TestCaseError::fail)?;
            }
        }
    }
}
