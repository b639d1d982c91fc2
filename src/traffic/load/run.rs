use super::connection::{Connection, Target};
use super::events::{Body, Composer, Shape};
use super::mix::Mix;
use super::pacer::{Due, Turn, pace};
use super::schedule::Schedule;
use super::summary::Summary;
use super::tally::{Latencies, Noted, Outcome, Tally};
use super::{LoadError, WrongPlan};
use crate::event::Dimension;
use crate::shutdown::Shutdown;
use bytes::Bytes;
use futures_util::future::try_join_all;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Between the last connection and the first request, so that all senders wait for it.
const BEFORE_START: Duration = Duration::from_millis(20);
/// Bytes of bodies that may be held at a time: each connection has its next one ready.
const MOST_BYTES: u64 = 1 << 30;

/// What a run is to send.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where to.
    pub target: Target,
    /// Events per second.
    pub rate: u32,
    /// For how long.
    pub lasting: Duration,
    /// Connections, each of which waits for the answer to its request before the next.
    pub connections: u32,
    /// Events of a request.
    pub batch: u32,
    /// Which types of events.
    pub mix: Mix,
    /// Distinct keys of each type.
    pub keys: u32,
    /// How skewed the keys are: 0 is evenly.
    pub zipf: f64,
    /// Bytes of an event, about.
    pub event_bytes: u32,
    /// How long an answer may take.
    pub answer_within: Duration,
}

impl Plan {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// What is wrong, and what it may be.
    pub fn check(&self) -> Result<(), WrongPlan> {
        if self.mix.types().len() > 256 {
            return Err(WrongPlan("a mix has at most 256 types".to_owned()));
        }
        if !(0.0..=10.0).contains(&self.zipf) {
            return Err(WrongPlan("the exponent of the keys' distribution is from 0 (evenly) to 10".to_owned()));
        }
        if self.lasting.is_zero() || self.lasting > Duration::from_secs(7 * 86_400) {
            return Err(WrongPlan("a run lasts more than nothing and at most a week".to_owned()));
        }
        let bytes = u64::from(self.connections) * u64::from(self.batch) * u64::from(self.event_bytes);
        if bytes > MOST_BYTES {
            return Err(WrongPlan(format!(
                "{} connections with {} events of {} bytes each would hold {} MiB: take fewer of one of them, for at \
                 most {}",
                self.connections,
                self.batch,
                self.event_bytes,
                bytes >> 20,
                MOST_BYTES >> 20,
            )));
        }
        Ok(())
    }
}

/// How a run goes.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Since the first request was due.
    pub elapsed: Duration,
    /// Events that were sent so far.
    pub events_sent: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that did not end in a 2xx.
    pub failed: u64,
    /// Latencies since the last look.
    pub recent: Latencies,
    /// Events that are due and not sent yet.
    pub behind: u64,
}

/// One run of the generator.
#[derive(Debug)]
pub struct Load {
    plan: Plan,
    run: String,
    shape: Arc<Shape>,
    tally: Arc<Mutex<Tally>>,
    schedule: Schedule,
}

/// Looks at a run while it is under way.
#[derive(Debug, Clone)]
pub struct Watch {
    tally: Arc<Mutex<Tally>>,
    schedule: Schedule,
    batch: u32,
}

impl Load {
    /// A run of that name. `fields` says for each type of the mix where its events carry their key.
    ///
    /// # Errors
    /// When the plan makes no sense.
    pub fn new(plan: Plan, run: &str, fields: &[Dimension]) -> Result<Load, LoadError> {
        plan.check()?;
        let shape =
            Shape::new(run, plan.mix.clone(), fields, (plan.keys.max(1), plan.zipf), plan.event_bytes as usize)?;
        let schedule = Schedule::new(plan.rate, plan.batch, plan.lasting);
        let tally = Arc::new(Mutex::new(Tally::new(plan.mix.types().len())?));
        Ok(Load { plan, run: run.to_owned(), shape: Arc::new(shape), tally, schedule })
    }

    /// For somebody who looks on.
    pub fn watch(&self) -> Watch {
        Watch { tally: self.tally.clone(), schedule: self.schedule, batch: self.plan.batch }
    }

    /// Sends until all is sent, or `stop`; then waits for the answers that are due. What found no connection within the
    /// time of an answer after the last request was due is not sent.
    ///
    /// # Errors
    /// When nobody is there to be connected to.
    pub async fn run(self, stop: Shutdown) -> Result<Summary, LoadError> {
        let open = (0..self.plan.connections).map(|_| Connection::open(&self.plan.target));
        let address = self.plan.target.address();
        let connections = try_join_all(open).await;
        let connections = connections.map_err(|e| LoadError::NobodyThere(address.to_owned(), e))?;
        let due = Arc::new(Due::new(self.schedule, Instant::now() + BEFORE_START));
        let mut senders = JoinSet::new();
        for (number, connection) in connections.into_iter().enumerate() {
            let sender = Sender {
                target: self.plan.target.clone(),
                connection: Some(connection),
                composer: Composer::new(self.shape.clone(), rand::random(), number),
                batch: self.plan.batch,
                within: self.plan.answer_within,
                due: due.clone(),
                tally: self.tally.clone(),
            };
            senders.spawn(sender.run());
        }
        let cpu_before = cpu();
        let released = pace(due.clone(), stop.clone()).await;
        let waiting = self.plan.connections as usize;
        if stop.has_begun() {
            due.end(due.taken(), waiting);
        } else {
            due.end(released, waiting);
        }
        let rest = async { while senders.join_next().await.is_some() {} };
        if tokio::time::timeout(self.plan.answer_within, rest).await.is_err() {
            due.end(due.taken(), 0);
            // Each of them is within a request, which ends in time.
            while senders.join_next().await.is_some() {}
        }
        let cpu = cpu().saturating_sub(cpu_before);
        let tally = lock(&self.tally).clone();
        let lasted = self.schedule.due(released);
        Ok(Summary::new(&self.plan, self.run, tally, (released, lasted), cpu))
    }
}

impl Watch {
    /// How it goes, `elapsed` after the start.
    pub fn look(&self, elapsed: Duration) -> Progress {
        let mut tally = lock(&self.tally);
        let due = self.schedule.due_by(elapsed).saturating_sub(tally.sent + tally.not_sent);
        Progress {
            elapsed,
            events_sent: tally.events_sent,
            answered: tally.answered_requests(),
            failed: tally.failed_requests(),
            recent: tally.take_recent(),
            behind: due * u64::from(self.batch),
        }
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// User and system time of this process.
fn cpu() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}

/// Sends requests, one after the other.
struct Sender {
    target: Target,
    connection: Option<Connection>,
    composer: Composer,
    batch: u32,
    within: Duration,
    due: Arc<Due>,
    tally: Arc<Mutex<Tally>>,
}

impl Sender {
    async fn run(mut self) {
        loop {
            let body = self.composer.body(self.batch);
            let Some(turn) = self.turn().await else { return };
            self.send(&body, &turn).await;
        }
    }

    /// The next request that is due. A connection that ends meanwhile is none.
    async fn turn(&mut self) -> Option<Turn> {
        let Sender { connection, due, .. } = self;
        let mut next = std::pin::pin!(due.next());
        if let Some(open) = connection {
            tokio::select! {
                biased;
                turn = &mut next => return turn,
                () = open.ended() => {}
            }
        }
        *connection = None;
        next.await
    }

    async fn send(&mut self, body: &Body, turn: &Turn) {
        let sent = Instant::now();
        let posted = self.post(body.json.clone()).await;
        let outcome = match &posted {
            Some(Ok((status, answer))) => Outcome::Answered(*status, answer),
            Some(Err(silence)) => Outcome::Unanswered(*silence),
            None => Outcome::NotSent,
        };
        let noted = Noted {
            types: &body.types,
            outcome,
            latency: turn.at.elapsed(),
            late: sent.saturating_duration_since(turn.at),
            has_waited: turn.has_waited,
            at: sent.saturating_duration_since(self.due.start),
        };
        lock(&self.tally).note(&noted);
        if !matches!(posted, Some(Ok(_))) {
            self.connection = None;
        }
    }

    /// Posts on the open connection, or a new one. `None`: it could not be sent.
    async fn post(&mut self, mut json: Bytes) -> Option<Result<(u16, Bytes), super::tally::Silence>> {
        if let Some(open) = &mut self.connection {
            match open.post(&self.target, json, self.within).await {
                Ok(done) => return Some(done),
                // The server had ended the connection: nothing of the request has left.
                Err(unsent) => json = unsent.into_json(),
            }
        }
        self.connection = None;
        let open = Connection::open(&self.target).await.ok()?;
        self.connection.insert(open).post(&self.target, json, self.within).await.ok()
    }
}
