use super::Shape;
use serde::{Deserialize, Serialize};

/// Seconds that refusals are counted for.
pub const WINDOW_S: i64 = 600;
/// Bytes of a text in an entry.
const TEXT: usize = 300;

/// What became of an event, or of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is stored.
    Accepted,
    /// It is not, and the reason is said.
    Refused,
}

impl Outcome {
    /// The outcome of that name.
    pub fn named(name: &str) -> Option<Outcome> {
        match name {
            "accepted" => Some(Outcome::Accepted),
            "refused" => Some(Outcome::Refused),
            _ => None,
        }
    }
}

/// An event that was accepted or refused, or a request that was refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in ms.
    pub at: i64,
    /// What became of it.
    pub outcome: Outcome,
    /// The site that it belongs to, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Why it was refused, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The status that a request was answered with which was refused as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The field at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Why it was refused, as the client was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The event, without its values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Shape>,
}

/// How often something was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The site, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Why.
    pub reason: String,
    /// Times within [`WINDOW_S`].
    pub count: u64,
    /// Times within the last minute of that.
    pub last_minute: u64,
}

/// A text that may come from anywhere, so that it can stand in an entry.
pub(super) fn shown(text: &str) -> String {
    cut(text, TEXT)
}

/// At most so many bytes of a text, on a character boundary, with a mark where something is missing. What a terminal
/// would obey is escaped.
pub(super) fn cut(text: &str, most: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(most));
    for c in text.chars() {
        let before = shown.len();
        if is_unprintable(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
        if shown.len() > most {
            shown.truncate(before);
            shown.push('…');
            break;
        }
    }
    shown
}

/// Characters that move the cursor, or change the order or the look of what follows.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{feff}' | '\u{180e}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_bounded_and_harmless() {
        assert_eq!(cut("größe", 7), "größe");
        assert_eq!(cut("größer", 7), "größe…");
        assert_eq!(cut("a\u{1b}[2J\n\u{202e}", 40), "a\\u{1b}[2J\\n\\u{202e}");
        assert_eq!(cut("\u{1b}\u{1b}", 9), "\\u{1b}…");
        assert_eq!(cut(&"x".repeat(1_000_000), 3), "xxx…");
    }
}
