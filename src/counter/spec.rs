use super::measure::{Filter, Kind, Measuring};
use crate::event::{Dimension, Dimensions, Event};
use crate::window::{Window, WindowError};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::HashSet;

/// A counter as a user writes it: one `[[counters]]` of the configuration, and its definition in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Names the counter in keys and queries: `[a-z][a-z0-9_]*`.
    pub name: String,
    /// What it tells of a window: how many events, what they add up to, or how many different ones.
    #[serde(default, skip_serializing_if = "Kind::is_count")]
    pub kind: Kind,
    /// The number that a `sum` adds up, the value whose different ones `distinct` counts: a dimension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// A `sum` is kept in whole multiples of one part in so many: a power of ten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<u64>,
    /// Event types that it counts; empty for every event.
    #[serde(default, deserialize_with = "one_or_many")]
    pub event: Vec<String>,
    /// Counts only events of which each named dimension has one of its values: `context.site=shop`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// Leaves out events of which any of these holds: `context.bot=true`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// Dimensions to split the count by: `event_type`, `user_id`, `session_id`, `payload.*`, `context.*`.
    #[serde(default)]
    pub by: Vec<String>,
    /// Window sizes, each with its retention.
    pub windows: Vec<WindowSpec>,
    /// Distinct keys per bucket (and shard); what comes after them adds to `other`.
    #[serde(default = "default_max_keys")]
    pub max_keys: u64,
}

/// A window size and its retention, as configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSpec {
    /// Length, like "10s".
    pub size: String,
    /// How long a bucket is kept after its end, like "1h".
    pub keep: String,
}

fn default_max_keys() -> u64 {
    10_000
}

/// The factor of a sum that names none: six digits behind the point.
const DEFAULT_FACTOR: u64 = 1_000_000;
const MOST_PLACES: u32 = 9;

impl Default for Spec {
    /// Counts every event, into no window yet.
    fn default() -> Spec {
        Spec {
            name: String::new(),
            kind: Kind::Count,
            of: None,
            factor: None,
            event: Vec::new(),
            only: Vec::new(),
            except: Vec::new(),
            by: Vec::new(),
            windows: Vec::new(),
            max_keys: default_max_keys(),
        }
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected an event type or a list of them")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    match OneOrMany::deserialize(from)? {
        OneOrMany::One(one) => Ok(vec![one]),
        OneOrMany::Many(many) if many.is_empty() => {
            Err(serde::de::Error::custom("an empty list counts nothing: leave `event` out to count every event"))
        }
        OneOrMany::Many(many) => Ok(many),
    }
}

/// The counters of a configuration that names none: page views, clicks, searches, and all events by type.
pub fn default_specs() -> Vec<Spec> {
    let windows = [("10s", "1h"), ("1m", "1d"), ("1h", "30d")];
    let spec = |name: &str, event: Option<&str>, by: &str| Spec {
        name: name.into(),
        event: event.map(str::to_owned).into_iter().collect(),
        by: vec![by.into()],
        windows: windows.map(|(size, keep)| WindowSpec { size: size.into(), keep: keep.into() }).into(),
        ..Spec::default()
    };
    vec![
        spec("page_views", Some("page_view"), "payload.path"),
        spec("clicks", Some("click"), "payload.target"),
        spec("searches", Some("search"), "payload.query"),
        spec("events", None, "event_type"),
    ]
}

/// Why a counter cannot be used. Each names the counter and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CounterError {
    /// The name could forge part of a key.
    #[error("counter `{0}`: a name starts with a-z and holds only a-z, 0-9 and _")]
    Name(String),
    /// Two counters share a name.
    #[error("counter `{0}` is defined twice: give one of them another name")]
    Twice(String),
    /// There is nothing to count into.
    #[error("counter `{0}` has no windows: add at least one, like {{ size = \"10s\", keep = \"1h\" }}")]
    NoWindows(String),
    /// Two windows share a size.
    #[error("counter `{0}`: window `{1}` stands there twice")]
    WindowTwice(String, String),
    /// A window is wrong.
    #[error("counter `{0}`: {1}")]
    Window(String, WindowError),
    /// A retention is no duration.
    #[error("counter `{0}`: keep `{1}` is not a duration: write it like \"1h\" or \"30d\"")]
    Keep(String, String),
    /// A dimension is wrong.
    #[error("counter `{0}`: {1}")]
    Dimension(String, String),
    /// A condition is wrong.
    #[error("counter `{0}`: {1}")]
    Condition(String, String),
    /// It is not said what is measured.
    #[error("counter `{0}`: kind `{kind}` needs `of`: the {what}", kind = .1.name(), what = said(*.1))]
    NoOf(String, Kind),
    /// It is said what is measured, but nothing is.
    #[error("counter `{0}`: kind `{kind}` takes no `{1}`: take it out, or set kind = \"{other}\"", kind = .2.name(), other = if *.1 == "factor" { "sum" } else { "distinct" })]
    NotTaken(String, &'static str, Kind),
    /// A factor is none.
    #[error("counter `{0}`: factor {1} is no power of ten from 1 to 1,000,000,000: for cents, write 100")]
    Factor(String, u64),
    /// No key could ever be stored.
    #[error("counter `{0}`: max_keys must be from 1 to 1,000,000")]
    MaxKeys(String),
    /// More counters or windows than an index can name.
    #[error("more than 1,000 counters, or more than 100 windows in counter `{0}`")]
    TooMany(String),
}

/// A counter, checked and ready to count.
#[derive(Debug)]
pub struct Counter {
    spec: Spec,
    events: HashSet<Box<str>, ahash::RandomState>,
    filter: Option<Filter>,
    measuring: Measuring,
    by: Dimensions,
    windows: Vec<Window>,
}

/// What `of` is for, in words.
fn said(kind: Kind) -> &'static str {
    match kind {
        Kind::Sum => "number to add up, like \"payload.amount\"",
        Kind::Count | Kind::Distinct => "value to tell apart, like \"user_id\"",
    }
}

impl Counter {
    /// Checks a definition.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn new(spec: Spec) -> Result<Counter, CounterError> {
        let name = || spec.name.clone();
        let mut letters = spec.name.chars();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !letters.next().is_some_and(|c| c.is_ascii_lowercase()) || !letters.all(plain) {
            return Err(CounterError::Name(name()));
        }
        if !(1..=1_000_000).contains(&spec.max_keys) {
            return Err(CounterError::MaxKeys(name()));
        }
        let by = Dimensions::parse(&spec.by).map_err(|e| CounterError::Dimension(name(), e.to_string()))?;
        let events = spec.event.iter().map(|e| e.as_str().into()).collect();
        let has_filter = !(spec.only.is_empty() && spec.except.is_empty());
        let filter = Filter::parse(&spec.only, &spec.except).map_err(|e| CounterError::Condition(name(), e))?;
        let (measuring, windows) = (measuring(&spec)?, windows(&spec)?);
        Ok(Counter { events, filter: has_filter.then_some(filter), measuring, by, windows, spec })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The definition that it was made of.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What it tells of a window.
    pub fn kind(&self) -> Kind {
        self.measuring.kind()
    }

    /// How it measures an event.
    pub fn measuring(&self) -> &Measuring {
        &self.measuring
    }

    /// Digits behind the point of its sums.
    pub fn places(&self) -> u32 {
        if let Measuring::Sum { places, .. } = &self.measuring { *places } else { 0 }
    }

    /// How many parts of one its sums are kept in.
    pub fn factor(&self) -> Option<u64> {
        if let Measuring::Sum { places, .. } = &self.measuring { Some(10_u64.pow(*places)) } else { None }
    }

    /// Its dimensions; none for a plain total.
    pub fn by(&self) -> &Dimensions {
        &self.by
    }

    /// Its windows, in configured order.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// The window of that size as configured ("10s"), with its place in the list.
    pub fn window(&self, label: &str) -> Option<(usize, &Window)> {
        self.windows.iter().enumerate().find(|(_, w)| w.label() == label)
    }

    /// Whether it counts this event, if it can be measured.
    pub fn wants(&self, event: &Event<'_>) -> bool {
        (self.events.is_empty() || self.events.contains(event.event_type.as_ref()))
            && self.filter.as_ref().is_none_or(|filter| filter.lets(event))
    }
}

fn measuring(spec: &Spec) -> Result<Measuring, CounterError> {
    let name = || spec.name.clone();
    let taken = [
        ("of", spec.of.is_some() && spec.kind == Kind::Count),
        ("factor", spec.factor.is_some() && spec.kind != Kind::Sum),
    ];
    if let Some((what, _)) = taken.into_iter().find(|(_, is_wrong)| *is_wrong) {
        return Err(CounterError::NotTaken(name(), what, spec.kind));
    }
    if spec.kind == Kind::Count {
        return Ok(Measuring::Count);
    }
    let of = spec.of.as_deref().ok_or_else(|| CounterError::NoOf(name(), spec.kind))?;
    let of = Dimension::parse(of).map_err(|e| CounterError::Dimension(name(), e.to_string()))?;
    if spec.kind == Kind::Distinct {
        return Ok(Measuring::Distinct { of });
    }
    let factor = spec.factor.unwrap_or(DEFAULT_FACTOR);
    let places = (0..=MOST_PLACES).find(|places| 10_u64.pow(*places) == factor);
    Ok(Measuring::Sum { of, places: places.ok_or_else(|| CounterError::Factor(name(), factor))? })
}

fn windows(spec: &Spec) -> Result<Vec<Window>, CounterError> {
    let name = || spec.name.clone();
    match spec.windows.len() {
        0 => return Err(CounterError::NoWindows(name())),
        101.. => return Err(CounterError::TooMany(name())),
        _ => {}
    }
    let mut windows: Vec<Window> = Vec::with_capacity(spec.windows.len());
    for WindowSpec { size, keep } in &spec.windows {
        let keep = humantime::parse_duration(keep).map_err(|_| CounterError::Keep(name(), keep.clone()))?;
        let window = Window::new(size, keep).map_err(|e| CounterError::Window(name(), e))?;
        if windows.iter().any(|w| w.size_s() == window.size_s()) {
            return Err(CounterError::WindowTwice(name(), size.clone()));
        }
        windows.push(window);
    }
    Ok(windows)
}

/// All counters of a configuration. A counter's place in it is its index in [`super::Slot`].
#[derive(Debug)]
pub struct Counters(Vec<Counter>);

impl Counters {
    /// Checks all definitions, in their order.
    ///
    /// # Errors
    /// The first thing that is wrong with any of them.
    pub fn new(specs: Vec<Spec>) -> Result<Counters, CounterError> {
        let mut names = HashSet::new();
        for spec in &specs {
            if !names.insert(spec.name.clone()) {
                return Err(CounterError::Twice(spec.name.clone()));
            }
            if names.len() > 1_000 {
                return Err(CounterError::TooMany(spec.name.clone()));
            }
        }
        specs.into_iter().map(Counter::new).collect::<Result<_, _>>().map(Counters)
    }

    /// The counter at a place, as a [`super::Slot`] names it.
    pub fn get(&self, index: u16) -> Option<&Counter> {
        self.0.get(usize::from(index))
    }

    /// The counter of that name, with its place.
    pub fn named(&self, name: &str) -> Option<(usize, &Counter)> {
        self.0.iter().enumerate().find(|(_, c)| c.name() == name)
    }

    /// All of them, in configured order.
    pub fn iter(&self) -> std::slice::Iter<'_, Counter> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Spec)) -> String {
        let mut spec = default_specs().remove(0);
        change(&mut spec);
        Counter::new(spec).unwrap_err().to_string()
    }

    #[test]
    fn the_default_counters_are_valid() {
        let counters = Counters::new(default_specs()).unwrap();
        let names: Vec<_> = counters.iter().map(Counter::name).collect();
        assert_eq!(names, ["page_views", "clicks", "searches", "events"]);
    }

    #[test]
    fn a_wrong_definition_is_named() {
        assert!(refused(|s| s.name = "Page".into()).contains("starts with a-z"));
        assert!(refused(|s| s.name = "a:b".into()).contains("only a-z"));
        assert!(refused(|s| s.windows.clear()).contains("no windows"));
        assert!(refused(|s| s.windows[1].size = "10s".into()).contains("twice"));
        assert!(refused(|s| s.windows[0].keep = "long".into()).contains("keep `long`"));
        assert!(refused(|s| s.max_keys = 0).contains("max_keys"));
        assert!(refused(|s| s.by = vec!["page".into()]).contains("page"));
        assert!(refused(|s| s.except = vec!["context.bot".into()]).contains("\"context.bot=true\""));
        let sum = |of: Option<&'static str>, factor| {
            move |s: &mut Spec| (s.kind, s.of, s.factor) = (Kind::Sum, of.map(str::to_owned), factor)
        };
        assert!(refused(sum(None, None)).contains("kind `sum` needs `of`: the number to add up"));
        assert!(refused(sum(Some("amount"), None)).contains("`amount` is no dimension"));
        assert!(refused(sum(Some("payload.amount"), Some(60))).contains("factor 60"));
        assert!(refused(|s| s.of = Some("user_id".into())).contains("takes no `of`"));
        assert!(refused(|s| s.factor = Some(100)).contains("set kind = \"sum\""));
        assert!(refused(|s| s.kind = Kind::Distinct).contains("like \"user_id\""));
        let twice = default_specs().into_iter().chain(default_specs()).collect();
        assert_eq!(Counters::new(twice).unwrap_err(), CounterError::Twice("page_views".into()));
    }
}
