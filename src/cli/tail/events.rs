//! Server-sent events, as far as the query side uses them: each has a kind and one line of data.

/// Bytes of an event; a longer one is left out.
const MOST_BYTES: usize = 1024 * 1024;

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    pub(super) kind: &'a str,
    pub(super) data: &'a str,
}

/// Takes a stream apart, however it is cut into pieces.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    kind: String,
    data: String,
    /// The line that is being read is too long.
    is_overlong: bool,
}

impl Parser {
    /// Reads a piece, and hands on each event that ends in it.
    pub(super) fn read(&mut self, piece: &[u8], mut event: impl FnMut(Event<'_>)) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + part.len() > MOST_BYTES {
                self.is_overlong = true;
                self.line.clear();
            }
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                if !std::mem::take(&mut self.is_overlong) {
                    self.end_line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']), &mut event);
                }
            }
        }
    }

    fn end_line(&mut self, line: &str, event: &mut impl FnMut(Event<'_>)) {
        if line.is_empty() {
            if !self.data.is_empty() {
                event(Event { kind: &self.kind, data: &self.data });
            }
            self.kind.clear();
            self.data.clear();
        } else if let Some(kind) = line.strip_prefix("event:") {
            kind.trim_start().clone_into(&mut self.kind);
        } else if let Some(data) = line.strip_prefix("data:") {
            data.trim_start().clone_into(&mut self.data);
        }
        // What is left are comments, ids and times.
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &str = "retry: 1000\n\nevent: entry\nid: a-1\ndata: {\"a\":\"ü\"}\n\n: heartbeat\n\n\
                          event: counts\r\ndata: {}\r\n\r\nevent: nothing\n\ndata:bare\n\nevent: half\ndata: {";

    fn read(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.read(piece, |event| events.push((event.kind.to_owned(), event.data.to_owned())));
        }
        events
    }

    fn expected() -> Vec<(String, String)> {
        [("entry", "{\"a\":\"ü\"}"), ("counts", "{}"), ("", "bare")].map(|(k, d)| (k.to_owned(), d.to_owned())).into()
    }

    #[test]
    fn a_line_without_end_takes_no_room() {
        let (mut parser, mut events) = (Parser::default(), 0);
        for _ in 0..300 {
            parser.read(&[b'x'; 100_000], |_| events += 1);
            assert!(parser.line.capacity() <= 4 * MOST_BYTES);
        }
        parser.read(b"\ndata: 1\n\n", |_| events += 1);
        assert_eq!(events, 1);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_it_is_cut(cuts in prop::collection::vec(0..STREAM.len(), 0..9)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &STREAM.as_bytes()[cut[0]..cut[1]]).collect();
            prop_assert_eq!(read(&pieces), expected());
        }
    }
}
