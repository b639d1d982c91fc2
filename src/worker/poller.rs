//! The thread that polls: it keeps the membership, hands messages to the partitions' tasks and commits what they have
//! finished. It never waits for a handler.

use super::message::Batch;
use super::runner::{self, Channels, Progress};
use super::{Handler, Shared, WorkerError, leaving, locate};
use crate::clock::now_ms;
use crate::log::{Consumer, Notice};
use crate::shutdown::Shutdown;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longest wait for records; it bounds how late an order is obeyed.
const POLL: Duration = Duration::from_millis(100);
/// The same while partitions are given up: the group waits for them.
const POLL_LEAVING: Duration = Duration::from_millis(10);
/// Messages handed over at a time.
const BATCH: usize = 1_000;
/// How long a partition with too much in flight may hold the others up before reading of it pauses: a pause throws away
/// what was fetched, so a handler that is only a little behind is waited for.
const ROOM: Duration = Duration::from_millis(20);
const ROOM_LOOK: Duration = Duration::from_millis(1);
/// How often positions are committed again that have not changed.
const REPEAT: Duration = Duration::from_secs(10);
/// How often the group's lag is looked up.
const LAG: Duration = Duration::from_secs(5);

/// What other tasks tell the poller.
pub(super) enum Order {
    /// Read these from there, if they are still the assignment of that number.
    Start { assignment: u64, positions: Vec<(i32, i64)> },
    /// Their handlers are done or cancelled, and what they finished is committed.
    Release(Vec<i32>),
    /// Where these end.
    Ends(Vec<(i32, i64)>),
}

/// A partition that is ours.
struct Assigned {
    /// Tells this assignment from earlier ones of the same partition.
    assignment: u64,
    running: Option<Running>,
}

/// A partition that is read.
pub(super) struct Running {
    inbox: UnboundedSender<Batch>,
    batch: Batch,
    pub(super) stop: oneshot::Sender<()>,
    pub(super) task: JoinHandle<i64>,
    pub(super) progress: Arc<Progress>,
    committed: Option<i64>,
    is_paused: bool,
}

impl Running {
    fn has_any(&self) -> bool {
        self.progress.messages.load(Ordering::Relaxed) > 0
    }

    fn is_full(&self, share: usize, config: &super::Config) -> bool {
        self.progress.messages.load(Ordering::Relaxed) * share > config.max_in_flight
            || self.progress.bytes.load(Ordering::Relaxed) * share > config.max_in_flight_bytes
    }
}

/// See the module's documentation.
pub(super) struct Poller<H> {
    pub(super) shared: Arc<Shared<H>>,
    pub(super) consumer: Arc<dyn Consumer>,
    pub(super) runtime: Handle,
    pub(super) shutdown: Shutdown,
    orders: (Sender<Order>, Receiver<Order>),
    assigned: BTreeMap<i32, Assigned>,
    assignments: u64,
    /// Partitions that finish before they are given up.
    leaving: Vec<JoinHandle<()>>,
    committed_at: Instant,
    repeated_at: Instant,
    lag_at: Instant,
}

impl<H: Handler> Poller<H> {
    #[expect(clippy::disallowed_methods, reason = "one small order for each look-up and each leave, and those are few")]
    pub(super) fn new(
        shared: Arc<Shared<H>>,
        consumer: Arc<dyn Consumer>,
        runtime: Handle,
        shutdown: Shutdown,
    ) -> Poller<H> {
        let now = Instant::now();
        Poller {
            shared,
            consumer,
            runtime,
            shutdown,
            orders: std::sync::mpsc::channel(),
            assigned: BTreeMap::new(),
            assignments: 0,
            leaving: Vec::new(),
            committed_at: now,
            repeated_at: now,
            lag_at: now,
        }
    }

    /// Works until the shutdown begins, then gives everything up in order.
    ///
    /// # Errors
    /// Why its consumer is no longer one.
    pub(super) fn run(mut self) -> Result<(), WorkerError> {
        let mut ended = Ok(());
        while ended.is_ok() && !self.shutdown.has_begun() {
            while let Ok(order) = self.orders.1.try_recv() {
                self.obey(order);
            }
            let notices = self.read();
            self.hand_over();
            ended = notices.into_iter().try_for_each(|notice| self.heed(notice));
            self.revive();
            self.rest();
            self.hold_back();
            self.commit();
            self.look_at_lag();
        }
        self.finish();
        ended
    }

    fn read(&mut self) -> Vec<Notice> {
        let Poller { consumer, assigned, leaving, .. } = self;
        leaving.retain(|task| !task.is_finished());
        let timeout = if leaving.is_empty() { POLL } else { POLL_LEAVING };
        consumer.poll(timeout, BATCH, &mut |record| {
            let running = assigned.get_mut(&record.partition).and_then(|assigned| assigned.running.as_mut());
            if let Some(running) = running {
                running.batch.push(&record);
            }
        })
    }

    fn hand_over(&mut self) {
        for running in self.assigned.values_mut().filter_map(|assigned| assigned.running.as_mut()) {
            if running.batch.is_empty() {
                continue;
            }
            let batch = running.batch.take();
            running.progress.messages.fetch_add(batch.len(), Ordering::Relaxed);
            running.progress.bytes.fetch_add(batch.weight(), Ordering::Relaxed);
            // Its task ends only when it is told to, or by a panic of ours, after which nothing is committed.
            drop(running.inbox.send(batch));
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Start { assignment, positions } => self.start(assignment, &positions),
            Order::Release(partitions) => self.release(&partitions),
            Order::Ends(ends) => self.tell_lag(&ends),
        }
    }

    fn heed(&mut self, notice: Notice) -> Result<(), WorkerError> {
        let group = self.shared.log.group();
        match notice {
            Notice::Assigned(partitions) => {
                tracing::info!(group, ?partitions, "partitions assigned");
                self.locate(partitions, 0);
            }
            Notice::Revoked(partitions) => {
                tracing::info!(group, ?partitions, "partitions revoked");
                self.leave(partitions);
            }
            Notice::Lost(partitions) => {
                tracing::warn!(group, ?partitions, "partitions lost");
                for partition in &partitions {
                    self.cancel(*partition);
                }
                self.release(&partitions);
            }
            Notice::OutOfRange(concerned) => {
                let all = self.assigned.keys().copied().filter(|id| concerned.is_none_or(|one| one == *id)).collect();
                tracing::warn!(group, partitions = ?all, "positions are not in the log: they are looked up again");
                self.locate(all, 0);
            }
            Notice::Failed(error) => tracing::debug!(group, error, "the log's client goes on by itself"),
            Notice::Fatal(reason) => {
                return Err(WorkerError::Consumer { group: group.to_owned(), reason });
            }
        }
        Ok(())
    }

    /// Looks up where partitions begin; the answer comes as an order.
    fn locate(&mut self, partitions: Vec<i32>, failures: u32) {
        self.assignments += 1;
        for partition in &partitions {
            self.cancel(*partition);
            self.assigned.insert(*partition, Assigned { assignment: self.assignments, running: None });
        }
        let looking = locate::locate(self.shared.clone(), self.consumer.clone(), partitions, failures);
        let (orders, assignment) = (self.orders.0.clone(), self.assignments);
        self.runtime.spawn(async move {
            let positions = looking.await;
            // Without the poller nobody reads them any more.
            _ = orders.send(Order::Start { assignment, positions });
        });
    }

    fn start(&mut self, assignment: u64, positions: &[(i32, i64)]) {
        let is_current = |id: &i32| self.assigned.get(id).is_some_and(|known| known.assignment == assignment);
        let positions: Vec<_> = positions.iter().copied().filter(|(id, _)| is_current(id)).collect();
        if let Err(error) = self.consumer.start(&positions) {
            tracing::warn!(group = self.shared.log.group(), %error, "cannot start partitions; they are looked up again");
            self.locate(positions.iter().map(|(id, _)| *id).collect(), 1);
            return;
        }
        for (partition, offset) in positions {
            let running = self.runner(offset);
            self.assigned.insert(partition, Assigned { assignment, running: Some(running) });
        }
        // Where a group begins is its position from now on, also for others who trim the log or begin anew.
        self.commit_all();
    }

    #[expect(clippy::disallowed_methods, reason = "bounded: reading pauses while too much is in flight")]
    fn runner(&self, offset: i64) -> Running {
        let (inbox, messages) = unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let progress = Progress::at(offset);
        let channels = Channels { inbox: messages, stop: stopped, progress: progress.clone() };
        let task = self.runtime.spawn(runner::run(self.shared.clone(), offset, channels));
        Running { inbox, batch: Batch::of(&self.shared.topic), stop, task, progress, committed: None, is_paused: false }
    }

    /// Lets the handlers of partitions end, commits what they finished, and then gives the partitions up.
    fn leave(&mut self, partitions: Vec<i32>) {
        partitions.iter().for_each(|partition| self.forget_lag(*partition));
        let running: Vec<_> =
            partitions.iter().filter_map(|id| Some((*id, self.assigned.remove(id)?.running?))).collect();
        let (shared, consumer, orders) = (self.shared.clone(), self.consumer.clone(), self.orders.0.clone());
        self.leaving.push(self.runtime.spawn(async move {
            leaving::settle(running, consumer, &shared.config, shared.log.group()).await;
            // Without the poller the consumer is closed, which gives everything up.
            _ = orders.send(Order::Release(partitions));
        }));
    }

    fn release(&self, partitions: &[i32]) {
        if let Err(error) = self.consumer.release(partitions) {
            tracing::warn!(group = self.shared.log.group(), ?partitions, %error, "cannot give partitions up");
        }
    }

    /// Ends a partition where it stands: it is somebody else's already, or begins anew.
    fn cancel(&mut self, partition: i32) {
        self.forget_lag(partition);
        if let Some(running) = self.assigned.remove(&partition).and_then(|assigned| assigned.running) {
            running.task.abort();
        }
    }

    /// A task of ours that panicked would leave its partition to nobody: it begins anew where it was committed.
    fn revive(&mut self) {
        let has_ended =
            |assigned: &Assigned| assigned.running.as_ref().is_some_and(|running| running.task.is_finished());
        let dead: Vec<i32> = self.assigned.iter().filter(|(_, one)| has_ended(one)).map(|(id, _)| *id).collect();
        if !dead.is_empty() {
            let group = self.shared.log.group();
            tracing::error!(group, partitions = ?dead, "the tasks of partitions panicked; they begin anew");
            self.locate(dead, 1);
        }
    }

    /// Without a partition nothing can probe what was away: whoever gets one next finds out.
    fn rest(&self) {
        if self.assigned.is_empty() && self.leaving.is_empty() && self.shared.breaker.close() {
            self.shared.meters.breaker_at_rest();
        }
    }

    /// Pauses the partitions that have too much in flight; while the circuit breaker is open, all that have anything: one
    /// with nothing has to read on, for its messages may be the only ones that can probe.
    fn hold_back(&mut self) {
        let begun = Instant::now();
        while begun.elapsed() < ROOM && self.some_is_full() {
            if let Ok(order) = self.orders.1.recv_timeout(ROOM_LOOK) {
                self.obey(order);
            }
        }
        let (config, is_open) = (&self.shared.config, !self.shared.breaker.is_closed());
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (id, assigned) in &mut self.assigned {
            let Some(running) = &mut assigned.running else { continue };
            // Half of it has to be done before it goes on, or every few messages would pause it again.
            let wanted =
                (is_open && running.has_any()) || running.is_full(if running.is_paused { 2 } else { 1 }, config);
            if wanted != running.is_paused {
                running.is_paused = wanted;
                if wanted { pause.push(*id) } else { resume.push(*id) }
            }
        }
        for (partitions, changed) in [(&pause, self.consumer.pause(&pause)), (&resume, self.consumer.resume(&resume))] {
            if let Err(error) = changed {
                tracing::warn!(group = self.shared.log.group(), ?partitions, %error, "cannot pause or resume");
            }
        }
    }

    fn some_is_full(&self) -> bool {
        let running = self.assigned.values().filter_map(|assigned| assigned.running.as_ref());
        running.filter(|running| !running.is_paused).any(|running| running.is_full(1, &self.shared.config))
    }

    fn commit(&mut self) {
        if self.committed_at.elapsed() < self.shared.config.commit_interval {
            return;
        }
        self.committed_at = Instant::now();
        // Nobody says when a commit failed, so all of them are repeated now and then.
        if self.repeated_at.elapsed() >= REPEAT {
            self.repeated_at = Instant::now();
            let running = self.assigned.values_mut().filter_map(|assigned| assigned.running.as_mut());
            running.for_each(|running| running.committed = None);
        }
        self.commit_all();
    }

    fn commit_all(&mut self) {
        let mut positions = Vec::new();
        for (id, assigned) in &mut self.assigned {
            let Some(running) = &mut assigned.running else { continue };
            let position = running.progress.position.load(Ordering::Acquire);
            if running.committed != Some(position) {
                running.committed = Some(position);
                positions.push((*id, position));
            }
        }
        fail::fail_point!("worker-commit", |_| std::process::abort());
        self.consumer.commit(&positions);
    }

    /// A partition that is given up has no lag here any more.
    fn forget_lag(&self, partition: i32) {
        let (metrics, partition) = (&self.shared.meters.metrics, partition.to_string());
        let labels = [self.shared.log.group(), partition.as_str()];
        // It fails when there is none yet.
        _ = metrics.worker_lag_records.remove_label_values(&labels);
        _ = metrics.worker_lag_seconds.remove_label_values(&labels);
    }

    fn look_at_lag(&mut self) {
        if self.lag_at.elapsed() < LAG {
            return;
        }
        self.lag_at = Instant::now();
        let partitions: Vec<i32> = self.assigned.keys().copied().collect();
        let (consumer, orders) = (self.consumer.clone(), self.orders.0.clone());
        self.runtime.spawn(async move {
            let ends = leaving::apart(move || consumer.ends(&partitions)).await;
            // The log is away: the next look tells. Without the poller nobody wants to know.
            _ = ends.map(|ends| orders.send(Order::Ends(ends)));
        });
    }

    fn tell_lag(&self, ends: &[(i32, i64)]) {
        let (metrics, group) = (&self.shared.meters.metrics, self.shared.log.group());
        for (id, end) in ends {
            let Some(running) = self.assigned.get(id).and_then(|assigned| assigned.running.as_ref()) else { continue };
            let partition = id.to_string();
            let labels = [group, partition.as_str()];
            let position = running.progress.position.load(Ordering::Acquire);
            metrics.worker_lag_records.with_label_values(&labels).set((end - position).max(0));
            let age_ms = match running.progress.oldest_ms.load(Ordering::Relaxed) {
                -1 => 0,
                oldest_ms => (now_ms() - oldest_ms).max(0),
            };
            #[expect(clippy::cast_precision_loss, reason = "an age in ms is far below 2^53")]
            metrics.worker_lag_seconds.with_label_values(&labels).set(age_ms as f64 / 1_000.0);
        }
    }

    /// Lets all handlers end, commits what they finished and leaves the group. Until then it polls: the group may be in a
    /// rebalance, and would take no commit from a member that does not answer.
    fn finish(mut self) {
        let all: Vec<i32> = self.assigned.keys().copied().collect();
        self.leave(all);
        while self.leaving.iter().any(|task| !task.is_finished()) {
            for notice in self.read() {
                match notice {
                    Notice::Revoked(partitions) => self.leave(partitions),
                    Notice::Lost(partitions) => self.release(&partitions),
                    // What comes now is for the others.
                    Notice::Assigned(_) | Notice::OutOfRange(_) | Notice::Failed(_) | Notice::Fatal(_) => {}
                }
            }
        }
        self.leaving.clear();
        self.rest();
        self.consumer.close();
    }
}
