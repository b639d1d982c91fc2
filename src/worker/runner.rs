//! Drives one partition: a task that handles its messages until it is told to stop.

use super::attempt::{Attempted, attempt, bury};
use super::breaker::Permit;
use super::message::Batch;
use super::meters::Finished;
use super::partition::{Partition, Task};
use super::{Handler, Shared};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use prometheus::local::LocalHistogram;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Instant;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

/// Messages that are begun between two looks at everything else.
const BURST: usize = 256;

/// What the poller sees of a partition.
#[derive(Debug)]
pub(super) struct Progress {
    /// What may be committed.
    pub(super) position: AtomicI64,
    /// Messages handed over and not finished, and their bytes.
    pub(super) messages: AtomicUsize,
    pub(super) bytes: AtomicUsize,
    /// Record time of the oldest of them; -1 when there is none.
    pub(super) oldest_ms: AtomicI64,
}

impl Progress {
    pub(super) fn at(position: i64) -> Arc<Progress> {
        Arc::new(Progress {
            position: AtomicI64::new(position),
            messages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            oldest_ms: AtomicI64::new(-1),
        })
    }
}

/// How a runner is reached.
pub(super) struct Channels {
    pub(super) inbox: UnboundedReceiver<Batch>,
    /// Ends it; so does the loss of the sender.
    pub(super) stop: oneshot::Receiver<()>,
    pub(super) progress: Arc<Progress>,
}

/// An attempt that is over, or a burial.
struct Settled {
    task: Task,
    permit: Permit,
    came: Attempted,
    /// When the attempt began; absent for a burial.
    began: Option<Instant>,
}

type Underway<'a> = Pin<Box<dyn Future<Output = Settled> + Send + 'a>>;
type Postponed = Pin<Box<dyn Future<Output = Task> + Send>>;

struct Runner<'a, H> {
    shared: &'a Shared<H>,
    partition: Partition,
    running: FuturesUnordered<Underway<'a>>,
    /// Messages that wait for another attempt.
    waiting: FuturesUnordered<Postponed>,
    progress: Arc<Progress>,
    seconds: LocalHistogram,
    finished: [u64; 4],
    /// Messages that the meters were told to be in flight.
    told: usize,
    /// Messages and bytes taken over that the poller was not told to be finished.
    taken: (usize, usize),
}

/// Handles a partition's messages from `from` on until it is told to stop, then waits for those that run, at most
/// [`super::Config::drain`]. Answers the position that may be committed.
pub(super) async fn run<H: Handler>(shared: Arc<Shared<H>>, from: i64, channels: Channels) -> i64 {
    let Channels { mut inbox, mut stop, progress } = channels;
    let mut runner = Runner::new(&shared, Partition::at(from, shared.config.concurrency), progress);
    let mut changes = shared.breaker.changes();
    loop {
        // Before looking whether it is open: a change afterwards ends the wait.
        changes.borrow_and_update();
        let is_more = runner.launch_all().await;
        runner.tell();
        let probe_at = shared.breaker.until().filter(|_| runner.partition.is_ready());
        tokio::select! {
            biased;
            _ = &mut stop => break,
            Some(settled) = runner.running.next() => runner.settle(settled, Instant::now()),
            Some(task) = runner.waiting.next() => runner.partition.again(task),
            batch = inbox.recv() => match batch {
                Some(batch) => runner.accept(batch),
                None => break,
            },
            _ = changes.changed() => {}
            () = until(probe_at), if probe_at.is_some() => {}
            () = tokio::task::yield_now(), if is_more => {}
        }
    }
    runner.drain().await
}

async fn until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at.into()).await;
    }
}

impl<'a, H: Handler> Runner<'a, H> {
    fn new(shared: &'a Shared<H>, partition: Partition, progress: Arc<Progress>) -> Runner<'a, H> {
        Runner {
            shared,
            partition,
            running: FuturesUnordered::new(),
            waiting: FuturesUnordered::new(),
            progress,
            seconds: shared.meters.handler_seconds.local(),
            finished: [0; 4],
            told: 0,
            taken: (0, 0),
        }
    }

    fn accept(&mut self, batch: Batch) {
        self.taken.0 += batch.len();
        self.taken.1 += batch.weight();
        batch.messages().for_each(|message| self.partition.accept(message));
    }

    /// Begins what may be handled now. `true` when there is more.
    async fn launch_all(&mut self) -> bool {
        // Where one ends at once the next begins: the clock is read once for each.
        let mut now = Instant::now();
        for _ in 0..BURST {
            let Some(task) = self.partition.next() else { return false };
            match self.shared.breaker.permit(now) {
                Some(permit) => now = self.launch(task, permit, now).await,
                None => {
                    self.partition.put_back(task);
                    return false;
                }
            }
        }
        true
    }

    /// Most handlers that have nothing to wait for end with their first poll: then nothing is queued. Answers when that
    /// was over.
    async fn launch(&mut self, mut task: Task, permit: Permit, now: Instant) -> Instant {
        let mut attempting = Box::pin(attempt(self.shared, task.message.clone()));
        let began = Some(now);
        let polled = poll_fn(|context| Poll::Ready(attempting.as_mut().poll(context))).await;
        let then = Instant::now();
        match polled {
            Poll::Ready(came) => self.settle(Settled { task, permit, came, began }, then),
            Poll::Pending => {
                self.partition.holds(&mut task);
                self.running.push(Box::pin(async move { Settled { task, permit, came: attempting.await, began } }));
            }
        }
        then
    }

    fn settle(&mut self, settled: Settled, now: Instant) {
        let Settled { mut task, permit, came, began } = settled;
        if let Some(began) = began {
            self.seconds.observe((now - began).as_secs_f64());
        }
        if let Some(kind) = came.failed() {
            self.shared.meters.failed(kind);
        }
        if let Attempted::Unavailable(reason) = came {
            let opened = permit.failed(&self.shared.breaker, now);
            self.shared.meters.unavailable(&task.message, &reason, opened);
            return self.partition.put_back(task);
        }
        if permit.reached() {
            self.shared.meters.available();
        }
        match came {
            Attempted::Finished(how) => {
                self.finished[how as usize] += 1;
                self.partition.finished(&task);
            }
            Attempted::Failed(cause) if task.failures + 1 < self.shared.config.max_attempts => {
                task.failures += 1;
                let wait = self.shared.config.backoff.jittered(task.failures, rand::random());
                self.shared.meters.again(&task.message, task.failures, &cause, wait);
                self.partition.waits(&mut task);
                self.waiting.push(Box::pin(async move {
                    tokio::time::sleep(wait).await;
                    task
                }));
            }
            Attempted::Failed(cause) => self.give_up(task, cause.reason()),
            Attempted::Hopeless(reason) | Attempted::Unavailable(reason) => self.give_up(task, reason),
        }
    }

    /// It keeps its place until its dead letter is stored: its key goes on behind it.
    fn give_up(&mut self, mut task: Task, reason: String) {
        let shared = self.shared;
        self.partition.holds(&mut task);
        self.running.push(Box::pin(async move {
            bury(shared, &task.message, task.failures + 1, &reason).await;
            let came = Attempted::Finished(Finished::DeadLettered);
            Settled { task, permit: Permit::none(), came, began: None }
        }));
    }

    /// Tells the poller and the meters how far it is.
    fn tell(&mut self) {
        let (messages, bytes) = self.partition.unfinished();
        let done = (self.taken.0 - messages, self.taken.1 - bytes);
        self.progress.messages.fetch_sub(done.0, Ordering::Relaxed);
        self.progress.bytes.fetch_sub(done.1, Ordering::Relaxed);
        self.taken = (messages, bytes);
        self.progress.position.store(self.partition.position(), Ordering::Release);
        self.progress.oldest_ms.store(self.partition.oldest_ms().unwrap_or(-1), Ordering::Relaxed);
        self.tell_in_flight(messages);
        self.seconds.flush();
        for (how, count) in FINISHED.into_iter().zip(&mut self.finished) {
            if *count > 0 {
                self.shared.meters.finished(how, std::mem::take(count));
            }
        }
    }

    /// Waits for what runs. What waits for another attempt is left to whoever has the partition next.
    async fn drain(mut self) -> i64 {
        let deadline = tokio::time::sleep(self.shared.config.drain);
        tokio::pin!(deadline);
        while !self.running.is_empty() {
            tokio::select! {
                Some(settled) = self.running.next() => self.settle(settled, Instant::now()),
                () = &mut deadline => break,
            }
        }
        self.tell();
        self.partition.position()
    }
}

const FINISHED: [Finished; 4] = [Finished::Handled, Finished::Duplicate, Finished::Skipped, Finished::DeadLettered];

impl<H> Runner<'_, H> {
    fn tell_in_flight(&mut self, messages: usize) {
        let change = |now: usize, before: usize| i64::try_from(now).unwrap_or(0) - i64::try_from(before).unwrap_or(0);
        self.shared.meters.in_flight.add(change(messages, self.told));
        self.told = messages;
    }
}

impl<H> Drop for Runner<'_, H> {
    /// A partition that was taken away has nothing in flight here, however it ended.
    fn drop(&mut self) {
        self.tell_in_flight(0);
    }
}
