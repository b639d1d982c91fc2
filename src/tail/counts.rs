use super::Count;
use super::entry::WINDOW_S;
use std::collections::HashMap;

/// Seconds of a step, and steps of the window and of its last minute.
const STEP_S: i64 = 10;
const STEPS: usize = (WINDOW_S / STEP_S) as usize;
const LAST: usize = (60 / STEP_S) as usize;
/// Sites that are counted apart, for each reason.
const MOST_SITES: usize = 1_000;
/// Rows that are told, those with the highest counts.
const MOST_ROWS: usize = 300;
/// Refusals of one site and reason that are shown in a second, and of all together; the others are only counted.
const SHOWN_OF_ONE: u32 = 3;
const SHOWN: u32 = 30;

/// Refusals by reason and site, over the last ten minutes.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// By reason, then by site; the empty name is for no site.
    cells: HashMap<&'static str, HashMap<Box<str>, Cell>>,
    shown: Shown,
}

#[derive(Debug)]
struct Cell {
    /// By the number of the step modulo how many there are.
    steps: [u32; STEPS],
    latest: i64,
    shown: Shown,
}

/// How many were shown in a second.
#[derive(Debug, Default)]
struct Shown {
    second: i64,
    shown: u32,
}

impl Shown {
    /// Whether there is room for one more.
    fn has_room(&mut self, second: i64, most: u32) -> bool {
        if self.second != second {
            *self = Shown { second, shown: 0 };
        }
        self.shown < most
    }
}

impl Counts {
    /// Counts a refusal, and answers whether it may be shown.
    pub(super) fn add(&mut self, now_ms: i64, site: &str, reason: &'static str) -> bool {
        let sites = self.cells.entry(reason).or_default();
        if !sites.contains_key(site) {
            if sites.len() >= MOST_SITES {
                return false;
            }
            sites.insert(site.into(), Cell { steps: [0; STEPS], latest: step(now_ms), shown: Shown::default() });
        }
        let Some(cell) = sites.get_mut(site) else { return false };
        cell.advance(step(now_ms));
        let place = place(cell.latest);
        cell.steps[place] = cell.steps[place].saturating_add(1);
        let second = now_ms.div_euclid(1_000);
        let shows = cell.shown.has_room(second, SHOWN_OF_ONE) && self.shown.has_room(second, SHOWN);
        if shows {
            cell.shown.shown += 1;
            self.shown.shown += 1;
        }
        shows
    }

    /// What was refused most often within the window, most first; forgets what was not refused in it.
    pub(super) fn rows(&mut self, now_ms: i64) -> Vec<Count> {
        let mut rows = Vec::new();
        for (reason, sites) in &mut self.cells {
            sites.retain(|site, cell| {
                cell.advance(step(now_ms));
                let count = cell.last(STEPS);
                if count > 0 {
                    let site = (!site.is_empty()).then(|| site.to_string());
                    rows.push(Count { site, reason: (*reason).to_owned(), count, last_minute: cell.last(LAST) });
                }
                count > 0
            });
        }
        sort(&mut rows);
        rows.truncate(MOST_ROWS);
        rows
    }
}

/// The order of rows: most first.
pub(super) fn sort(rows: &mut [Count]) {
    rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| (&a.site, &a.reason).cmp(&(&b.site, &b.reason))));
}

impl Cell {
    /// Makes a later step the latest one. A clock that was set back goes on adding to where it was.
    fn advance(&mut self, now: i64) {
        let passed = usize::try_from(now.saturating_sub(self.latest)).unwrap_or(0);
        for ahead in 1..=passed.min(STEPS) {
            self.steps[place(now - passed.min(STEPS) as i64 + ahead as i64)] = 0;
        }
        self.latest = self.latest.max(now);
    }

    fn last(&self, steps: usize) -> u64 {
        (0..steps as i64).map(|ago| u64::from(self.steps[place(self.latest - ago)])).sum()
    }
}

fn step(now_ms: i64) -> i64 {
    now_ms.div_euclid(STEP_S * 1_000)
}

fn place(step: i64) -> usize {
    // Below STEPS, and not negative.
    step.rem_euclid(STEPS as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_760_000_000_000;

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut counts = Counts::default();
        for (ago_s, site, reason) in [
            (590, "shop", "field"),
            (120, "shop", "field"),
            (50, "", "time"),
            (5, "shop", "field"),
            (0, "blog", "field"),
        ] {
            counts.add(NOW - ago_s * 1_000, site, reason);
        }
        let row = |site: &str, reason: &str, count, last_minute| {
            let site = (!site.is_empty()).then(|| site.to_owned());
            Count { site, reason: reason.to_owned(), count, last_minute }
        };
        let expected = [row("shop", "field", 3, 1), row("", "time", 1, 1), row("blog", "field", 1, 1)];
        assert_eq!(counts.rows(NOW), expected);
        assert_eq!(counts.rows(NOW + 20_000)[0], row("shop", "field", 2, 1));
        assert_eq!(counts.rows(NOW + 595_000), [row("blog", "field", 1, 0)]);
        assert!(counts.rows(NOW + 700_000).is_empty());
        assert!(counts.cells.values().all(HashMap::is_empty), "what is forgotten takes no room");
    }

    #[test]
    fn of_many_only_some_are_shown_and_all_are_counted() {
        let mut counts = Counts::default();
        let mut shown = |second: i64, site: &str, times| {
            (0..times).filter(|_| counts.add(NOW + second * 1_000, site, "field")).count()
        };
        assert_eq!((shown(0, "flood", 1_000), shown(0, "quiet", 1), shown(1, "flood", 10)), (3, 1, 3));
        let all: usize = (0..100).map(|site| shown(2, &format!("s{site}"), 2)).sum();
        assert_eq!(all, 30);
        let rows = counts.rows(NOW + 2_000);
        assert_eq!((rows.len(), rows[0].count, rows.iter().map(|row| row.count).sum::<u64>()), (102, 1_010, 1_211));
    }

    #[test]
    fn sites_and_rows_are_bounded() {
        let mut counts = Counts::default();
        for site in 0..5_000 {
            counts.add(NOW, &format!("s{site}"), "field");
        }
        assert_eq!((counts.cells["field"].len(), counts.rows(NOW).len()), (MOST_SITES, MOST_ROWS));
    }

    proptest! {
        #[test]
        fn the_steps_agree_with_a_list_of_times(gaps in prop::collection::vec(0_i64..400_000, 1..40)) {
            let (mut counts, mut times, mut now) = (Counts::default(), Vec::new(), NOW);
            for gap in gaps {
                now += gap;
                counts.add(now, "shop", "field");
                times.push(now);
                let within = |steps: usize| times.iter().filter(|time| step(now) - step(**time) < steps as i64).count() as u64;
                let row = &counts.rows(now)[0];
                prop_assert_eq!((row.count, row.last_minute), (within(STEPS), within(LAST)));
            }
        }
    }
}
