use super::run::Plan;
use super::tally::{Counts, Latencies, Tally};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A generator keeps its schedule when 99 of 100 requests leave no later than this after their time.
const ON_TIME_MS: f64 = 10.0;

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The name of the run, which stands in the key of each of its events.
    pub run: String,
    /// Events per second that were asked for.
    pub rate_wanted: u32,
    /// Events per second that were sent, until the last request left.
    pub rate_achieved: f64,
    /// How long requests were due.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub lasted: Duration,
    /// Connections.
    pub connections: u32,
    /// Events of a request.
    pub batch: u32,
    /// Requests that were due.
    pub requests_due: u64,
    /// Requests that were sent.
    pub requests_sent: u64,
    /// Requests that were due and found no connection that could be made.
    pub requests_without_connection: u64,
    /// Requests that were due and had not been sent when the run ended.
    pub requests_left: u64,
    /// Requests by the status of their answers.
    pub answers: BTreeMap<u16, u64>,
    /// Requests that were not answered in time.
    pub timed_out: u64,
    /// Requests whose connection broke before their answer.
    pub broken: u64,
    /// Events that were sent.
    pub events_sent: u64,
    /// Events that ingest said to have stored, and those of which nobody knows.
    #[serde(flatten)]
    pub events: Counts,
    /// Events that ingest refused.
    pub rejected: u64,
    /// Accepted events that are in Kafka, by ingest's answer.
    pub stored_kafka: u64,
    /// Accepted events that are on ingest's disk.
    pub stored_disk: u64,
    /// Accepted and unknown events by type.
    pub by_type: BTreeMap<String, Counts>,
    /// From the time at which a request was due to the end of its answer, in ms.
    #[serde(rename = "latency_ms")]
    pub latency: Latencies,
    /// How long after their time requests left, in ms.
    #[serde(rename = "late_ms")]
    pub late: Latencies,
    /// Whether requests left on time, and else why not.
    pub schedule: Kept,
    /// User and system time of the generator.
    #[serde(serialize_with = "seconds")]
    pub cpu_seconds: Duration,
}

/// Whether the schedule was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// Requests left when they were due.
    Kept,
    /// Requests waited for a free connection.
    Connections,
    /// Requests left late although connections were free.
    Generator,
}

fn seconds<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(duration.as_secs_f64())
}

impl Summary {
    /// `released` requests were due, in the time `lasted`.
    pub(super) fn new(
        plan: &Plan,
        run: String,
        tally: Tally,
        (released, lasted): (u64, Duration),
        cpu: Duration,
    ) -> Summary {
        let left = released.saturating_sub(tally.sent + tally.not_sent);
        let sending = lasted.max(tally.last_sent).as_secs_f64();
        Summary {
            run,
            rate_wanted: plan.rate,
            rate_achieved: if sending > 0.0 { tally.events_sent as f64 / sending } else { 0.0 },
            lasted,
            connections: plan.connections,
            batch: plan.batch,
            requests_due: released,
            requests_sent: tally.sent,
            requests_without_connection: tally.not_sent,
            requests_left: left,
            timed_out: tally.timed_out,
            broken: tally.broken,
            events_sent: tally.events_sent,
            events: tally.counts(),
            rejected: tally.rejected,
            stored_kafka: tally.stored_kafka,
            stored_disk: tally.stored_disk,
            by_type: plan.mix.types().map(str::to_owned).zip(tally.by_type.iter().copied()).collect(),
            latency: Latencies::of(&tally.latency),
            late: Latencies::of(&tally.late),
            schedule: kept(&tally, left),
            answers: tally.answers,
            cpu_seconds: cpu,
        }
    }
}

fn kept(tally: &Tally, left: u64) -> Kept {
    let requests = tally.sent + tally.not_sent + left;
    if left == 0 && Latencies::of(&tally.late).p99 <= ON_TIME_MS {
        return Kept::Kept;
    }
    let waited = (tally.waited + left) as f64 / requests.max(1) as f64;
    if waited > 0.01 && Latencies::of(&tally.own_late).p99 <= ON_TIME_MS { Kept::Connections } else { Kept::Generator }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.lasted.as_secs_f64();
        writeln!(f, "run         {}, {seconds:.1} s, {} connections", self.run, self.connections)?;
        writeln!(f, "rate        {} events/s wanted, {:.0} sent", self.rate_wanted, self.rate_achieved)?;
        self.requests(f)?;
        let Counts { accepted, unknown } = self.events;
        write!(f, "events      {} sent: {accepted} accepted", self.events_sent)?;
        writeln!(f, " (kafka {}, disk {}), {} rejected", self.stored_kafka, self.stored_disk, self.rejected)?;
        if unknown > 0 {
            writeln!(
                f,
                "unknown     {unknown} events without an answer that says what became of them: they may be stored"
            )?;
        }
        writeln!(f, "latency     {} ms, from the time at which a request was due", self.latency)?;
        self.schedule(f)?;
        let cpu = self.cpu_seconds.as_secs_f64();
        let per_million = cpu * 1e6 / (self.events_sent.max(1) as f64);
        write!(f, "generator   {cpu:.2} CPU-seconds, {per_million:.2} per million events")
    }
}

impl Summary {
    fn requests(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "requests    {} due, {} sent:", self.requests_due, self.requests_sent)?;
        for (status, requests) in &self.answers {
            write!(f, " {requests} answered {status},")?;
        }
        writeln!(f, " {} timed out, {} broke off", self.timed_out, self.broken)?;
        if self.requests_without_connection > 0 {
            let requests = self.requests_without_connection;
            writeln!(f, "            {requests} were not sent, for nobody could be connected to")?;
        }
        if self.requests_left > 0 {
            writeln!(f, "            {} were due and had not been sent when the run ended", self.requests_left)?;
        }
        Ok(())
    }

    fn schedule(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latencies { p99, max, .. } = self.late;
        let left = format!("99% of the requests left within {p99:.1} ms of their time, the last within {max:.1} ms");
        match self.schedule {
            Kept::Kept => writeln!(f, "schedule    kept: {left}"),
            Kept::Connections => {
                writeln!(f, "schedule    NOT KEPT, no connection was free: {left}")?;
                writeln!(f, "            ingest cannot take this rate, or {} connections are too few", self.connections)
            }
            Kept::Generator => {
                writeln!(f, "schedule    NOT KEPT, by the generator itself: {left}")?;
                writeln!(f, "            the latencies are too high by that: give it more CPU, or take a lower rate")
            }
        }
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latencies { p50, p90, p99, p99_9, max } = self;
        write!(f, "p50 {p50:.2}  p90 {p90:.2}  p99 {p99:.2}  p99.9 {p99_9:.2}  max {max:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tally::{Noted, Outcome, Silence};
    use super::super::{Mix, Target};
    use super::*;

    fn plan() -> Plan {
        Plan {
            target: Target::new("http://127.0.0.1:8081", None).unwrap(),
            rate: 100,
            lasting: Duration::from_secs(1),
            connections: 4,
            batch: 2,
            mix: "a=1,b=1".parse::<Mix>().unwrap(),
            keys: 10,
            zipf: 1.0,
            event_bytes: 300,
            answer_within: Duration::from_secs(1),
        }
    }

    fn noted(outcome: Outcome<'_>, late_ms: u64, has_waited: bool) -> Noted<'_> {
        let (late, latency) = (Duration::from_millis(late_ms), Duration::from_millis(late_ms + 3));
        Noted { types: &[0, 1], outcome, latency, late, has_waited, at: late }
    }

    fn summary(requests: &[Noted<'_>], released: u64) -> Summary {
        let mut tally = Tally::new(2).unwrap();
        requests.iter().for_each(|request| tally.note(request));
        Summary::new(&plan(), "r1".to_owned(), tally, (released, Duration::from_secs(1)), Duration::from_millis(20))
    }

    const TAKEN: Outcome<'_> =
        Outcome::Answered(202, br#"{"accepted":2,"rejected":0,"stored":"kafka","event_ids":[]}"#);

    #[test]
    fn a_summary_says_what_became_of_everything() {
        let requests = [
            noted(TAKEN, 1, false),
            noted(Outcome::Answered(429, b""), 1, false),
            noted(Outcome::Unanswered(Silence::TimedOut), 1, false),
            noted(Outcome::NotSent, 1, false),
        ];
        let text = summary(&requests, 4).to_string();
        for said in [
            "100 events/s wanted, 6 sent",
            "4 due, 3 sent: 1 answered 202, 1 answered 429, 1 timed out, 0 broke off",
            "1 were not sent, for nobody could be connected to",
            "6 sent: 2 accepted (kafka 2, disk 0), 2 rejected",
            "2 events without an answer",
            "p50 4.00",
            "schedule    kept",
            "0.02 CPU-seconds",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        let json = serde_json::to_value(summary(&requests, 4)).unwrap();
        assert_eq!((&json["accepted"], &json["unknown"], &json["rejected"]), (&2.into(), &2.into(), &2.into()));
        assert_eq!((&json["answers"]["202"], &json["by_type"]["a"]["accepted"]), (&1.into(), &1.into()));
        assert_eq!((&json["schedule"], &json["seconds"]), (&"kept".into(), &1.0.into()));
    }

    #[test]
    fn who_could_not_keep_the_schedule_is_told() {
        assert_eq!(summary(&[noted(TAKEN, 500, true), noted(TAKEN, 0, false)], 2).schedule, Kept::Connections);
        assert_eq!(summary(&[noted(TAKEN, 500, false), noted(TAKEN, 0, true)], 2).schedule, Kept::Generator);
        let overrun = summary(&[noted(TAKEN, 0, false)], 1_000);
        assert_eq!((overrun.schedule, overrun.requests_left), (Kept::Connections, 999));
        let text = overrun.to_string();
        assert!(text.contains("NOT KEPT, no connection was free") && text.contains("999 were due"), "{text}");
    }

    #[test]
    fn the_rate_is_that_of_the_time_that_sending_took() {
        let requests: Vec<_> = (0..100).map(|i| noted(TAKEN, i * 40, true)).collect();
        let rate = summary(&requests, 100).rate_achieved;
        assert!((50.0..51.0).contains(&rate), "200 events in 3.96 s: {rate}");
    }
}
