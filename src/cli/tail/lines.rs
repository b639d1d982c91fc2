//! What is printed: a line for each entry, and a table of the counts.

use super::events::Event;
use crate::cli::remark;
use crate::cli::text::{count, escaped, safe_json, shortened, time};
use crate::tail::{Count, Entry, Outcome, Shape};
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;

/// Rows of the table.
const ROWS: usize = 30;
/// Characters of an error, and of what is shown of an event.
const ERROR: usize = 160;
const SHAPE: usize = 200;

/// Prints what a stream tells.
#[derive(Debug, Default)]
pub(super) struct Printer {
    json: bool,
    counts: Option<Counts>,
    /// The highest number of each source: after a pause the query side begins with what was told before.
    seen: HashMap<String, u64>,
    entries: u64,
    is_unread: bool,
}

#[derive(Debug, Deserialize)]
struct Told {
    id: String,
    #[serde(flatten)]
    entry: Entry,
}

#[derive(Debug, Deserialize)]
struct Counts {
    window_s: u64,
    sources: u64,
    counts: Vec<Count>,
    /// As it came.
    #[serde(skip)]
    json: String,
}

#[derive(Debug, Deserialize)]
struct Trouble {
    error: String,
}

#[derive(Debug, Deserialize)]
struct Missed {
    missed: u64,
}

impl Printer {
    pub(super) fn new(json: bool) -> Printer {
        Printer { json, ..Printer::default() }
    }

    /// Whether nobody reads any more what is printed.
    pub(super) fn is_unread(&self) -> bool {
        self.is_unread
    }

    pub(super) fn event(&mut self, event: &Event<'_>) {
        match event.kind {
            "entry" => self.entry(event.data),
            "counts" => {
                if let Ok(counts) = serde_json::from_str::<Counts>(event.data) {
                    self.counts = Some(Counts { json: event.data.to_owned(), ..counts });
                }
            }
            "trouble" => {
                if let Ok(Trouble { error }) = serde_json::from_str(event.data) {
                    remark(&format!("nothing can be heard at the moment: {}", escaped(error.as_bytes())));
                }
            }
            "missed" => {
                if let Ok(Missed { missed }) = serde_json::from_str(event.data) {
                    remark(&format!("{} came too fast and are not shown", count(missed, "line")));
                }
            }
            // Of a newer query side.
            _ => {}
        }
    }

    fn entry(&mut self, data: &str) {
        let Ok(Told { id, entry }) = serde_json::from_str(data) else { return };
        if !self.is_new(&id) {
            return;
        }
        self.entries += 1;
        self.say(&if self.json { safe_json(data) } else { line(&entry) });
    }

    fn is_new(&mut self, id: &str) -> bool {
        let Some((source, number)) = id.rsplit_once('-').and_then(|(source, n)| Some((source, n.parse::<u64>().ok()?)))
        else {
            return true;
        };
        let seen = self.seen.entry(source.to_owned()).or_default();
        let is_new = number > *seen;
        *seen = number.max(*seen);
        is_new
    }

    /// The counts as they are now.
    pub(super) fn table(&mut self) {
        let Some(counts) = &self.counts else { return };
        if counts.sources == 0 {
            remark(
                "no ingest process has answered yet: does one run, with the same store and prefix, and with ingest.tail \
                 = true?",
            );
            return;
        }
        let text = if self.json { safe_json(&counts.json) } else { table(counts) };
        self.say(&text);
    }

    fn say(&mut self, text: &str) {
        self.is_unread |= writeln!(std::io::stdout(), "{text}").is_err();
    }
}

/// One line for an entry: when, what, whose, why, and what it was.
fn line(entry: &Entry) -> String {
    let site = entry.site.as_deref().map_or("-".to_owned(), |site| escaped(site.as_bytes()));
    let mut line = format!("{}  {:<8}  {site:<12}", time(entry.at), outcome(entry.outcome));
    if let Some(reason) = &entry.reason {
        let _ = write!(line, "  {:<14}", escaped(reason.as_bytes()));
    }
    if let Some(status) = entry.status {
        let _ = write!(line, "  HTTP {status}");
    }
    if let Some(error) = &entry.error {
        let _ = write!(line, "  {}", shortened(&escaped(error.as_bytes()), ERROR));
    }
    if let Some(event) = &entry.event {
        let _ = write!(line, "  {}", shortened(&shape(event), SHAPE));
    }
    line
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted => "accepted",
        Outcome::Refused => "refused",
    }
}

/// What is known of an event: `page_view "e1" 120 bytes {session_id, payload.path: string(5)}`.
fn shape(shape: &Shape) -> String {
    let mut text = shape.event_type.as_deref().map_or("(no type)".to_owned(), |name| escaped(name.as_bytes()));
    if let Some(id) = &shape.event_id {
        let _ = write!(text, " \"{}\"", escaped(id.as_bytes()));
    }
    let payload = shape.payload.iter().map(|(name, kind)| format!("payload.{name}: {kind}"));
    let is_shown =
        |name: &&String| !["event_type", "type", "event_id", "id", "payload", "properties"].contains(&name.as_str());
    let fields: Vec<String> = shape.fields.iter().filter(is_shown).cloned().chain(payload).collect();
    let more = if shape.cut { ", …" } else { "" };
    let _ = write!(text, " {} bytes {{{}{more}}}", shape.bytes, escaped(fields.join(", ").as_bytes()));
    text
}

fn table(counts: &Counts) -> String {
    let minutes = counts.window_s / 60;
    if counts.counts.is_empty() {
        return format!("-- nothing was refused in the last {minutes} minutes");
    }
    let mut text = format!("-- refused in the last {minutes} minutes, and in the last one");
    for row in counts.counts.iter().take(ROWS) {
        let site = escaped(row.site.as_deref().unwrap_or("-").as_bytes());
        let reason = escaped(row.reason.as_bytes());
        let _ = write!(text, "\n   {:>9} {:>9}  {site:<12}  {reason}", row.count, row.last_minute);
    }
    if counts.counts.len() > ROWS {
        let _ = write!(text, "\n   … and {} more", counts.counts.len() - ROWS);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = r#"{"id":"a-7","at":1760000000123,"outcome":"refused","site":"shop","reason":"field","field":"user_id",
        "error":"`user_id` must be a string,\u001b[2J not a number","event":{"bytes":88,"event_type":"buy","event_id":"e1",
        "fields":["event_type","event_id","user_id","payload"],"payload":{"price":"number"},"cut":true}}"#;

    #[test]
    fn an_entry_is_one_line_that_no_terminal_obeys() {
        let Told { entry, .. } = serde_json::from_str(REFUSED).unwrap();
        assert_eq!(
            line(&entry),
            "2025-10-09T08:53:20Z  refused   shop          field           `user_id` must be a string,\\u{1b}[2J not a \
             number  buy \"e1\" 88 bytes {user_id, payload.price: number, …}"
        );
        let bare = serde_json::from_str(r#"{"at":0,"outcome":"refused","reason":"unknown_key","status":401}"#).unwrap();
        assert_eq!(line(&bare), "1970-01-01T00:00:00Z  refused   -             unknown_key     HTTP 401");
    }

    #[test]
    fn what_was_printed_is_not_printed_again() {
        let mut printer = Printer::new(false);
        for (id, is_new) in [("a-1", true), ("b-1", true), ("a-3", true), ("a-2", false), ("a-3", false), ("odd", true)]
        {
            assert_eq!(printer.is_new(id), is_new, "{id}");
        }
    }

    #[test]
    fn the_table_has_the_reasons_by_site() {
        let of = |text: &str| table(&serde_json::from_str(text).unwrap());
        let counts = of(r#"{"now":1,"window_s":600,"sources":2,"counts":[
            {"site":"shop","reason":"field","count":12,"last_minute":3},{"reason":"no_key","count":1,"last_minute":0}]}"#);
        assert_eq!(
            counts,
            "-- refused in the last 10 minutes, and in the last one\n          12         3  shop          field\n           \
             1         0  -             no_key"
        );
        let nothing = of(r#"{"window_s":600,"sources":1,"counts":[]}"#);
        assert_eq!(nothing, "-- nothing was refused in the last 10 minutes");
        let row = r#"{"reason":"r","count":1,"last_minute":0}"#;
        let many = of(&format!(r#"{{"window_s":600,"sources":1,"counts":[{}]}}"#, [row; 40].join(",")));
        assert!(many.ends_with("… and 10 more"), "{many}");
    }
}
