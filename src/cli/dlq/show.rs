//! `dlq show`: everything about one letter.

use super::{Found, Letters, Place, Wanted, reading};
use crate::cli::say;
use crate::cli::text::{age, escaped, readable, time};
use crate::clock::now_ms;
use crate::log::LetterId;
use anyhow::{Context, bail};
use clap::Args;
use std::process::ExitCode;
use std::sync::Arc;

/// The arguments of `dlq show`.
#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    place: Place,
    /// Which one: its id, as `dlq list` shows it.
    id: LetterId,
}

impl Show {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let letters = Arc::new(Letters::open(&self.place.file.load()?, &self.place).await?);
        let (mut found, read) = reading(letters.clone(), Wanted::Ids(vec![self.id.clone()]), 1);
        let mut shown = 0;
        while let Some(found) = found.recv().await {
            if shown > 0 {
                say("");
            }
            shown += 1;
            lines(&found, &letters.name(), now_ms()).iter().for_each(|line| say(line));
        }
        read.await.context("a thread failed")??;
        if shown == 0 {
            bail!("there is no dead letter {} in {}", self.id, letters.name());
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn lines(found: &Found, name: &str, now_ms: i64) -> Vec<String> {
    let letter = &found.letter;
    let mut lines = Vec::new();
    let mut line = |what: &str, text: Option<String>| {
        let text = text.map_or_else(|| "-".to_owned(), |text| escaped(text.as_bytes()));
        lines.push(format!("{what:<15} {text}"));
    };
    let when = |ms: i64| format!("{} ({ms}), {} ago", time(ms), age(now_ms.saturating_sub(ms)));
    let origin = letter.origin.as_ref();
    line("id", Some(format!("{} in {name}", letter.id)));
    line("from", origin.map(|o| format!("topic {}, partition {}, offset {}", o.topic, o.partition, o.offset)));
    line("record time", origin.and_then(|o| o.time_ms).map(when));
    line("consumer group", origin.and_then(|o| o.group.clone()));
    line("reason", letter.error.clone());
    line("attempts", letter.attempts.map(|n| n.to_string()));
    line("failed at", letter.failed_at_ms.map(when));
    if let Some(truncated) = &letter.truncated {
        line("cut", Some(truncated.clone()));
    }
    if let Some(mark) = &found.redriven {
        let to = mark.to.as_deref().unwrap_or("an unknown topic");
        line("redriven", Some(format!("to {to}, {}", mark.at_ms.map_or_else(|| "-".to_owned(), when))));
    }
    for header in &letter.headers {
        let value = header.value.as_deref().map_or_else(|| "(null)".to_owned(), escaped);
        lines.push(format!("{:<15} {}: {value}", "header", escaped(header.name.as_bytes())));
    }
    for (what, bytes) in [("key", &letter.key), ("value", &letter.value)] {
        match bytes {
            None => lines.push(format!("{what:<15} (null)")),
            Some(bytes) => {
                lines.push(format!("{what:<15} {} bytes", bytes.len()));
                lines.extend(readable(bytes).lines().map(|line| format!("  {line}")));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Header, KeptLetter, LetterOrigin};

    #[test]
    fn everything_is_shown_and_nothing_obeyed() {
        let origin = LetterOrigin {
            topic: "t\x1b".to_owned(),
            partition: 2,
            offset: 9,
            time_ms: Some(1_000),
            group: Some("g".to_owned()),
        };
        let letter = KeptLetter {
            id: "1:4".parse().unwrap(),
            origin: Some(origin),
            error: Some("why\r\x1b[1A".to_owned()),
            attempts: Some(3),
            failed_at_ms: Some(61_000),
            truncated: Some("value: first 1 of 2 bytes".to_owned()),
            key: Some(b"k\x07".to_vec()),
            value: Some(b"{\"a\":1}".to_vec()),
            headers: vec![Header::copied("h\n", Some(b"\x9b")), Header::copied("n", None)],
        };
        let shown = lines(&Found { letter, redriven: None }, "t.dlq", 121_000);
        let expected = [
            "id              1:4 in t.dlq",
            "from            topic t\\u{1b}, partition 2, offset 9",
            "record time     1970-01-01T00:00:01Z (1000), 2m ago",
            "consumer group  g",
            "reason          why\\r\\u{1b}[1A",
            "attempts        3",
            "failed at       1970-01-01T00:01:01Z (61000), 60s ago",
            "cut             value: first 1 of 2 bytes",
            "header          h\\n: \\x9b",
            "header          n: (null)",
            "key             2 bytes",
            "  k\\u{7}",
            "value           7 bytes",
            "  {",
            "    \"a\": 1",
            "  }",
        ];
        assert_eq!(shown, expected);
    }
}
