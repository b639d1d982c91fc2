//! What came of the rounds, as a table in Markdown.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// What came of a round.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// The fault's own choices, in the order in which they were taken.
    pub(super) choices: Vec<u64>,
    /// How often the fault was injected.
    pub(super) injected: u64,
    /// How often it really hit.
    pub(super) hit: u64,
    /// Records that the log holds.
    pub(super) records: u64,
    /// Events that were acknowledged and are not in the log, or in the log and not counted.
    pub(super) lost: u64,
    /// Events that were counted more often than once.
    pub(super) double: u64,
    /// All that is wrong.
    pub(super) failures: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Row {
    rounds: u64,
    failed: u64,
    outcome: Outcome,
}

/// A row for each fault.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<&'static str, Row>,
    /// What could not be done here, and why.
    left_out: BTreeMap<&'static str, String>,
}

impl Table {
    pub(super) fn add(&mut self, fault: &'static str, outcome: &Outcome) {
        let row = self.rows.entry(fault).or_default();
        row.rounds += 1;
        row.failed += u64::from(!outcome.failures.is_empty());
        let sum = &mut row.outcome;
        sum.injected += outcome.injected;
        sum.hit += outcome.hit;
        sum.records += outcome.records;
        sum.lost += outcome.lost;
        sum.double += outcome.double;
    }

    pub(super) fn leave_out(&mut self, fault: &'static str, why: String) {
        self.left_out.insert(fault, why);
    }

    /// Writes it to a file, under a line that says how to repeat it.
    pub(super) fn write(&self, file: &Path, how: &str) {
        std::fs::write(file, format!("{how}\n\n{self}")).expect("the table is written");
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| fault | rounds | injected | hit | records | lost | double | failed |")?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|---:|")?;
        let mut all = Row::default();
        for (fault, row) in &self.rows {
            line(f, fault, row)?;
            all.rounds += row.rounds;
            all.failed += row.failed;
            all.outcome.injected += row.outcome.injected;
            all.outcome.hit += row.outcome.hit;
            all.outcome.records += row.outcome.records;
            all.outcome.lost += row.outcome.lost;
            all.outcome.double += row.outcome.double;
        }
        line(f, "**all**", &all)?;
        for (fault, why) in &self.left_out {
            writeln!(f, "\nLeft out: {fault}: {why}")?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, fault: &str, row: &Row) -> fmt::Result {
    let Outcome { injected, hit, records, lost, double, .. } = &row.outcome;
    let Row { rounds, failed, .. } = row;
    writeln!(f, "| {fault} | {rounds} | {injected} | {hit} | {records} | {lost} | {double} | {failed} |")
}
