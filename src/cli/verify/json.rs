//! A small reader of JSON, strict, over the text itself: numbers keep their digits and objects their order, as counts
//! by them need it. Nothing here is shared with the room `event`.

/// A valid JSON value, as its text without blanks around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// The one value that a text holds; `None` when it is not valid JSON, half a surrogate pair included.
    pub(super) fn parse(text: &'a str) -> Option<Json<'a>> {
        let mut scan = Scan { text, at: 0 };
        let value = scan.value()?;
        scan.blanks();
        (scan.at == text.len()).then_some(value)
    }

    pub(super) fn text(self) -> &'a str {
        self.0
    }

    pub(super) fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub(super) fn is_null(self) -> bool {
        self.0 == "null"
    }

    pub(super) fn is_number(self) -> bool {
        self.0.starts_with(|c: char| c == '-' || c.is_ascii_digit())
    }

    /// What a string says.
    pub(super) fn string(self) -> Option<String> {
        if self.0.starts_with('"') { serde_json::from_str(self.0).ok() } else { None }
    }

    /// The members of an object in their order, repeated names included.
    pub(super) fn members(self) -> Vec<(String, Json<'a>)> {
        let mut scan = Scan { text: self.0, at: 0 };
        let mut members = Vec::new();
        if !scan.eats(b'{') {
            return members;
        }
        while let Some(name) = scan.name() {
            let Some(value) = scan.value() else { break };
            members.push((name.string().unwrap_or_default(), value));
            scan.blanks();
            if !scan.eats(b',') {
                break;
            }
        }
        members
    }

    /// The elements of a list.
    pub(super) fn elements(self) -> Vec<Json<'a>> {
        let mut scan = Scan { text: self.0, at: 0 };
        let mut elements = Vec::new();
        if !scan.eats(b'[') {
            return elements;
        }
        while let Some(value) = scan.value() {
            elements.push(value);
            scan.blanks();
            if !scan.eats(b',') {
                break;
            }
        }
        elements
    }

    /// Levels of objects and lists, the value itself included.
    pub(super) fn depth(self) -> usize {
        let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
        for byte in self.0.bytes() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = !quoted,
                b'{' | b'[' if !quoted => {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                b'}' | b']' if !quoted => depth -= 1,
                _ => {}
            }
        }
        deepest
    }
}

/// Goes over a text once, without recursion: no nesting can exhaust the stack.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn eats(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Option<Json<'a>> {
        self.blanks();
        let from = self.at;
        let mut open = Vec::new();
        loop {
            if self.begins(&mut open)? {
                continue;
            }
            while let Some(close) = open.last().copied() {
                self.blanks();
                match self.next()? {
                    b',' if close == b'}' => {
                        self.name()?;
                        break;
                    }
                    b',' => break,
                    byte if byte == close => {
                        open.pop();
                    }
                    _ => return None,
                }
            }
            if open.is_empty() {
                return Some(Json(&self.text[from..self.at]));
            }
        }
    }

    /// Takes a scalar, or the beginning of an object or list; true when another value has to follow at once.
    fn begins(&mut self, open: &mut Vec<u8>) -> Option<bool> {
        self.blanks();
        match self.next()? {
            b'{' => {
                self.blanks();
                if self.eats(b'}') {
                    return Some(false);
                }
                self.name()?;
                open.push(b'}');
                Some(true)
            }
            b'[' => {
                self.blanks();
                if self.eats(b']') {
                    return Some(false);
                }
                open.push(b']');
                Some(true)
            }
            b'"' => self.string().map(|()| false),
            b't' => self.word("rue"),
            b'f' => self.word("alse"),
            b'n' => self.word("ull"),
            b'-' => self.next().and_then(|first| self.number(first)),
            first => self.number(first),
        }
    }

    fn word(&mut self, rest: &str) -> Option<bool> {
        rest.bytes().all(|byte| self.eats(byte)).then_some(false)
    }

    /// A member's name with its colon.
    fn name(&mut self) -> Option<Json<'a>> {
        self.blanks();
        let from = self.at;
        if !self.eats(b'"') {
            return None;
        }
        self.string()?;
        let name = Json(&self.text[from..self.at]);
        self.blanks();
        self.eats(b':').then_some(name)
    }

    /// The rest of a string whose quote is taken.
    fn string(&mut self) -> Option<()> {
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => match self.unit()? {
                        0xD800..0xDC00 => {
                            let paired =
                                self.eats(b'\\') && self.eats(b'u') && (0xDC00..0xE000).contains(&self.unit()?);
                            if !paired {
                                return None;
                            }
                        }
                        0xDC00..0xE000 => return None,
                        _ => {}
                    },
                    _ => return None,
                },
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    fn unit(&mut self) -> Option<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            unit = unit * 16 + char::from(self.next()?).to_digit(16)?;
        }
        Some(unit)
    }

    fn number(&mut self, first: u8) -> Option<bool> {
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.eats(b'.') {
            self.some_digits()?;
        }
        if self.eats(b'e') || self.eats(b'E') {
            let _ = self.eats(b'+') || self.eats(b'-');
            self.some_digits()?;
        }
        Some(false)
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Option<()> {
        let from = self.at;
        self.digits();
        (self.at > from).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_object_keeps_its_order_its_repetitions_and_its_digits() {
        let json = Json::parse(" {\"a\" : 1.50, \"b\":[1e3 , {}], \"\\u0061\":null} ").unwrap();
        let members = json.members();
        let texts: Vec<_> = members.iter().map(|(name, value)| (name.as_str(), value.text())).collect();
        assert_eq!(texts, [("a", "1.50"), ("b", "[1e3 , {}]"), ("a", "null")]);
        assert_eq!(members[1].1.elements().len(), 2);
        assert_eq!(json.depth(), 3);
        assert!(Json::parse("{}").unwrap().members().is_empty());
        assert!(Json::parse("[]").unwrap().elements().is_empty());
    }

    #[test]
    fn half_a_surrogate_pair_is_refused_and_a_whole_one_is_not() {
        assert!(Json::parse(r#""\ud83d\ude00""#).is_some());
        for half in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83dx""#, r#""\ud83dA""#, r#"{"\ud83d":1}"#] {
            assert!(Json::parse(half).is_none(), "{half}");
        }
    }

    #[test]
    fn any_depth_is_fine() {
        let deep = "[".repeat(200_000) + &"]".repeat(200_000);
        assert_eq!(Json::parse(&deep).unwrap().depth(), 200_000);
        assert!(Json::parse(&deep[1..]).is_none());
    }

    proptest! {
        #[test]
        fn it_accepts_what_serde_json_accepts(text in r#"[\[\]{}:,"a0-9.eE+\- tnu\\]{0,12}"#) {
            // A raw value checks the grammar alone: no range of numbers, no depth.
            let valid = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(Json::parse(&text).is_some(), valid, "{}", text);
        }
    }
}
