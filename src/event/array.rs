//! Many events in one text, read in one pass.

use super::scan;
use super::sent::Sent;
use super::text::Shape;
use super::{Door, Event};

/// The events of a JSON array, each with the bytes that it takes: for the arrays that nearly all are, of plain events with
/// nothing wrong in them. `None` among them ends it: this is not such an array, and only [`Event::parse`] of each of its
/// elements can tell what it is.
///
/// ```
/// use streamgauge::event::{Door, PlainArray};
///
/// let events = PlainArray::of(r#"[{"type":"click"},{"type":"view"}]"#, Door::Http).unwrap();
/// let types: Option<Vec<_>> = events.map(|event| event.map(|(event, _)| event.event_type)).collect();
/// assert_eq!(types.unwrap(), ["click", "view"]);
/// let mut events = PlainArray::of(r#"[{"type":"click"},7]"#, Door::Http).unwrap();
/// assert!(events.next().unwrap().is_some() && events.next().unwrap().is_none() && events.next().is_none());
/// ```
#[derive(Debug)]
pub struct PlainArray<'a> {
    /// What follows the last event, without blanks before it; absent once it is over.
    rest: Option<&'a str>,
    door: Door,
}

impl<'a> PlainArray<'a> {
    /// Begins to read a text without white space around it; `None` when it is no array, or not a plain one.
    pub fn of(array: &'a str, door: Door) -> Option<PlainArray<'a>> {
        let rest = array.strip_prefix('[')?;
        Shape::of(rest).is_plain.then(|| PlainArray { rest: Some(rest.trim_start_matches(' ')), door })
    }

    fn event(&mut self, rest: &'a str) -> Option<(Event<'a>, usize)> {
        let mut sent = Sent::default();
        let bytes = scan::first(rest, &mut sent)?;
        let event = Event::of(&mut sent, scan::DEPTH, self.door).ok()?;
        let behind = rest.get(bytes..)?.trim_start_matches(' ');
        match behind.strip_prefix(',') {
            Some(more) => self.rest = Some(more.trim_start_matches(' ')),
            None if behind == "]" => {}
            None => return None,
        }
        Some((event, bytes))
    }
}

impl<'a> Iterator for PlainArray<'a> {
    type Item = Option<(Event<'a>, usize)>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        Some(self.event(rest))
    }
}
