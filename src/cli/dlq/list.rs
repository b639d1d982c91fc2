//! `dlq list`: one line for each letter, and how many there are for each reason.

use super::{Filters, Found, Letters, Place, Wanted};
use crate::cli::say;
use crate::cli::text::{age, count, escaped, safe_json, shortened, time};
use crate::clock::now_ms;
use crate::log::{KeptLetter, Mark};
use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

/// Characters of a reason and of a key on a line.
const REASON: usize = 120;
const KEY: usize = 32;
/// Reasons that are counted apart, and lines for them.
const REASONS: usize = 10_000;
const REASON_LINES: usize = 20;

/// The arguments of `dlq list`.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filters: Filters,
    /// Lines at most; the latest failures are shown first.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: usize,
    /// Those too that were redriven before.
    #[arg(long)]
    redriven: bool,
    /// One JSON object on each line, and the counts by reason in the last one.
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let letters = Arc::new(Letters::open(&self.place.file.load()?, &self.place).await?);
        let filters = Filters { topic: self.place.topic.clone(), ..self.filters };
        let any = filters.any();
        let (reader, wanted) = (letters.clone(), Wanted::Filtered(filters));
        let (mut listing, redriven) = (Listing::new(self.limit), self.redriven);
        let reading = tokio::task::spawn_blocking(move || {
            let copies = reader.read(&wanted, &mut |found| listing.take(found, redriven))?;
            listing.copies = copies;
            anyhow::Ok(listing)
        });
        let listing = reading.await.context("a thread failed")??;
        if self.json {
            listing.print_json();
        } else {
            listing.print(&letters.name(), any, now_ms());
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Letters of one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Alike {
    count: u64,
    oldest: Option<i64>,
    newest: Option<i64>,
}

/// A letter without its value, of which there may be many.
struct Row {
    letter: KeptLetter,
    redriven: Option<Mark>,
    bytes: usize,
    event_type: Option<String>,
}

impl Row {
    fn small(mut self) -> Row {
        self.letter.value = None;
        self.letter.headers = Vec::new();
        self
    }
}

/// The latest letters, and counts of all.
struct Listing {
    limit: usize,
    /// By time, then place: the first is the one that has to go when there are too many.
    rows: BTreeMap<(Option<i64>, i32, i64, Option<String>), Row>,
    letters: u64,
    redriven: u64,
    copies: u64,
    reasons: BTreeMap<String, Alike>,
    /// Letters whose reason is one too many.
    other: u64,
}

impl Listing {
    fn new(limit: usize) -> Listing {
        let (rows, reasons) = (BTreeMap::new(), BTreeMap::new());
        Listing { limit, rows, letters: 0, redriven: 0, copies: 0, reasons, other: 0 }
    }

    fn take(&mut self, found: Found, redriven_too: bool) {
        if found.redriven.is_some() {
            self.redriven += 1;
            if !redriven_too {
                return;
            }
        }
        self.letters += 1;
        let at = found.letter.failed_at_ms;
        let reason = found.letter.error.as_deref().unwrap_or("(none given)");
        if self.reasons.contains_key(reason) || self.reasons.len() < REASONS {
            let alike = self.reasons.entry(reason.to_owned()).or_insert(Alike { count: 0, oldest: at, newest: at });
            alike.count += 1;
            alike.oldest = alike.oldest.into_iter().chain(at).min();
            alike.newest = alike.newest.max(at);
        } else {
            self.other += 1;
        }
        let id = found.letter.id.clone();
        let event_type = found.letter.event_type().map(Cow::into_owned);
        let row = Row { bytes: found.letter.size(), event_type, redriven: found.redriven, letter: found.letter };
        self.rows.insert((at, id.partition, id.offset, id.group), row.small());
        if self.rows.len() > self.limit {
            self.rows.pop_first();
        }
    }

    fn by_count(&self) -> Vec<(&String, &Alike)> {
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, alike)| std::cmp::Reverse(alike.count));
        reasons
    }

    fn print(&self, name: &str, filtered: bool, now_ms: i64) {
        if self.letters == 0 {
            let which = if filtered { "no such dead letters" } else { "no dead letters" };
            say(&format!("{which} in {name}{}", self.left_out()));
            return;
        }
        let mut lines =
            vec![["ID", "FROM", "GROUP", "TRIES", "FAILED AT", "AGE", "BYTES", "KEY", "REASON"].map(str::to_owned)];
        lines.extend(self.rows.values().rev().map(|found| line(found, now_ms)));
        table(&lines).iter().for_each(|line| say(line));
        let shown = match self.letters - self.rows.len() as u64 {
            0 => String::new(),
            more => format!(", the latest {} shown, {more} not", self.rows.len()),
        };
        say(&format!("\n{} in {name}{shown}{}", count(self.letters, "dead letter"), self.left_out()));
        let when = |at: Option<i64>| at.map_or_else(|| "-".to_owned(), time);
        let mut lines = vec![["COUNT", "OLDEST", "NEWEST", "REASON"].map(str::to_owned)];
        lines.extend(self.by_count().iter().take(REASON_LINES).map(|(reason, alike)| {
            let reason = shortened(&escaped(reason.as_bytes()), REASON);
            [alike.count.to_string(), when(alike.oldest), when(alike.newest), reason]
        }));
        table(&lines).iter().for_each(|line| say(line));
        let rest: u64 =
            self.by_count().iter().skip(REASON_LINES).map(|(_, alike)| alike.count).sum::<u64>() + self.other;
        if rest > 0 {
            say(&format!("{rest}  of other reasons"));
        }
    }

    fn left_out(&self) -> String {
        let mut notes = Vec::new();
        if self.redriven > 0 && !self.rows.values().any(|found| found.redriven.is_some()) {
            notes.push(format!("{} redriven before: --redriven shows them", self.redriven));
        }
        if self.copies > 0 {
            notes.push(format!("{} more of the same records", self.copies));
        }
        if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) }
    }

    fn print_json(&self) {
        for found in self.rows.values().rev() {
            say(&safe_json(&json_line(found).to_string()));
        }
        let reasons: Vec<_> = self.by_count().iter().take(REASONS).map(|(reason, alike)| {
            json!({"reason": reason, "count": alike.count, "oldest": alike.oldest, "newest": alike.newest})
        }).collect();
        let summary = json!({"letters": self.letters, "shown": self.rows.len(), "redriven": self.redriven,
            "copies": self.copies, "reasons": reasons, "other_reasons": self.other});
        say(&safe_json(&json!({"summary": summary}).to_string()));
    }
}

fn line(row: &Row, now_ms: i64) -> [String; 9] {
    let letter = &row.letter;
    let origin = letter.origin.as_ref();
    let from = origin.map(|o| format!("{}/{}/{}", o.topic, o.partition, o.offset));
    let mut reason = letter.error.clone().unwrap_or_else(|| "(none given)".to_owned());
    if letter.truncated.is_some() {
        reason = format!("[cut] {reason}");
    }
    if row.redriven.is_some() {
        reason = format!("[redriven] {reason}");
    }
    let text = |text: Option<String>| text.map_or_else(|| "-".to_owned(), |text| escaped(text.as_bytes()));
    [
        text(Some(letter.id.to_string())),
        text(from),
        text(origin.and_then(|o| o.group.clone())),
        text(letter.attempts.map(|n| n.to_string())),
        text(letter.failed_at_ms.map(time)),
        text(letter.failed_at_ms.map(|at| age(now_ms.saturating_sub(at)))),
        row.bytes.to_string(),
        letter.key.as_ref().map_or_else(|| "-".to_owned(), |key| shortened(&escaped(key), KEY)),
        shortened(&escaped(reason.as_bytes()), REASON),
    ]
}

fn json_line(row: &Row) -> Value {
    let letter = &row.letter;
    let origin = letter.origin.as_ref();
    let key = letter.key.as_deref();
    let key_text = key.and_then(|key| std::str::from_utf8(key).ok());
    let key_hex =
        key.filter(|_| key_text.is_none()).map(|key| key.iter().map(|b| format!("{b:02x}")).collect::<String>());
    let mut line = json!({
        "id": letter.id.to_string(),
        "topic": origin.map(|o| &o.topic),
        "partition": origin.map(|o| o.partition),
        "offset": origin.map(|o| o.offset),
        "timestamp": origin.and_then(|o| o.time_ms),
        "group": origin.and_then(|o| o.group.as_ref()),
        "reason": letter.error,
        "attempts": letter.attempts,
        "failed_at": letter.failed_at_ms,
        "event_type": row.event_type,
        "key": key_text,
        "bytes": row.bytes,
        "truncated": letter.truncated,
        "redriven": row.redriven.as_ref().map(|mark| json!({"at": mark.at_ms, "to": mark.to})),
    });
    if let (Some(hex), Some(line)) = (key_hex, line.as_object_mut()) {
        line.insert("key_hex".to_owned(), Value::String(hex));
    }
    line
}

/// Columns as wide as they have to be; the last one ends where it ends.
fn table<const N: usize>(lines: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(|column| if column + 1 < N { width(column) } else { 0 });
    let one = |line: &[String; N]| {
        let cells: Vec<_> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    lines.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LetterId;

    fn found(offset: i64, at: i64, error: &str, redriven: bool) -> Found {
        let mark = Mark { letter: (0, offset), origin: None, to: None, at_ms: None };
        let letter = KeptLetter {
            id: LetterId { partition: 0, offset, group: None },
            origin: None,
            error: Some(error.to_owned()),
            attempts: None,
            failed_at_ms: Some(at),
            truncated: None,
            key: Some(vec![0xff]),
            value: None,
            headers: Vec::new(),
        };
        Found { letter, redriven: redriven.then_some(mark) }
    }

    #[test]
    fn the_latest_are_kept_and_all_are_counted() {
        let mut listing = Listing::new(2);
        for (offset, at, error) in [(0, 50, "a"), (1, 10, "b"), (2, 40, "a"), (3, 60, "a")] {
            listing.take(found(offset, at, error, false), false);
        }
        listing.take(found(4, 70, "a", true), false);
        let kept: Vec<_> = listing.rows.values().rev().map(|found| found.letter.id.offset).collect();
        assert_eq!((kept, listing.letters, listing.redriven), (vec![3, 0], 4, 1));
        let a = Alike { count: 3, oldest: Some(40), newest: Some(60) };
        assert_eq!(listing.by_count().first(), Some(&(&"a".to_owned(), &a)));
        listing.take(found(4, 70, "a", true), true);
        assert_eq!((listing.letters, listing.redriven), (5, 2));
    }

    #[test]
    fn a_line_is_a_line_whatever_a_letter_holds() {
        let mut listing = Listing::new(1);
        listing.take(found(0, 0, "\x1b[2J\nfoo\u{202e}", false), false);
        let hostile = listing.rows.into_values().next().unwrap();
        let lines = table(&[line(&hostile, 200_000)]);
        let expected = "0:0  -  -  -  1970-01-01T00:00:00Z  3m  1  \\xff  \\u{1b}[2J\\nfoo\\u{202e}";
        assert_eq!(lines, [expected]);
        let json = json_line(&hostile);
        assert_eq!((&json["key"], &json["key_hex"], &json["bytes"]), (&Value::Null, &json!("ff"), &json!(1)));
        assert!(!safe_json(&json.to_string()).contains(['\x1b', '\u{202e}', '\n']));
    }

    #[test]
    fn columns_stand_below_each_other() {
        let text = |cells: [&str; 3]| cells.map(str::to_owned);
        let lines = table(&[text(["A", "B", "C"]), text(["größer", "x", "long text"])]);
        assert_eq!(lines, ["A       B  C", "größer  x  long text"]);
    }
}
