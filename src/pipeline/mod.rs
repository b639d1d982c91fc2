//! From the log into the store: read, count, gather, flush.
//!
//! [`Partition`] decides everything about one partition and does no I/O; `start` has the rule of where it starts. Around
//! it, each with one job: a `worker` thread reads and counts (a `reading` for each partition), `locate` looks up where
//! partitions start, `letters` stores dead letters, the `flusher` brings segments to the store, the `observer` asks the
//! log where it ends and whether it is the same, its `watchdog` tells what does not get on. They share the partitions in
//! a `registry`.

mod config;
mod flusher;
mod letters;
mod locate;
mod observer;
mod partition;
mod reading;
mod registry;
mod report;
mod start;
mod watchdog;
mod worker;

pub use config::{Config, OnGap};
pub use partition::{Answer, Merged, Next, Partition};
pub use reading::Tail;
pub use start::{Known, Located, Missing, Start};

use crate::clock::now_ms;
use crate::counter::{Counters, Timing};
use crate::log::{EventLog, LogError};
use crate::retry::Backoff;
use crate::shutdown::Shutdown;
use crate::store::{CounterStore, Layout, StoreError};
use crate::telemetry::{Metrics, Readiness};
use flusher::Flusher;
use registry::Registry;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::Notify;
use worker::{Handle, Worker};

/// Why the pipeline ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The store does not fit the configuration; trying again would not help.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log's client could not be built.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A worker thread could not be started.
    #[error("cannot start a worker thread: {0}")]
    Thread(#[from] std::io::Error),
    /// A member of the consumer group cannot go on, and no new one may take its place by itself.
    #[error(
        "a member of the consumer group cannot go on: {0}; what was counted is stored, restart the process (two \
         processes with the same `log.kafka.instance_id` put each other out)"
    )]
    Member(String),
    /// A worker thread ended although nobody asked it to.
    #[error("a worker ended unexpectedly; the counts are safe, restart the process")]
    WorkerEnded,
}

/// Everything that the pipeline is built of.
pub struct Parts {
    /// How it works.
    pub config: Config,
    /// What the store is laid out for.
    pub layout: Layout,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// Where it reads.
    pub log: Arc<dyn EventLog>,
    /// Where the counts go.
    pub store: Arc<dyn CounterStore>,
    /// The catalogue.
    pub metrics: Arc<Metrics>,
    /// Where it says whether it can do its job.
    pub readiness: Arc<Readiness>,
}

/// What workers, look-ups, letters, flusher and observer share.
struct Shared {
    config: Config,
    topic: String,
    counters: Arc<Counters>,
    timing: Timing,
    log: Arc<dyn EventLog>,
    store: Arc<dyn CounterStore>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    registry: Registry,
    /// Wakes the flusher before its next tick.
    wake: Notify,
    shutdown: Shutdown,
    runtime: tokio::runtime::Handle,
}

/// The pipeline of one process. See the module's documentation.
pub struct Pipeline {
    shared: Arc<Shared>,
    layout: Layout,
}

impl Pipeline {
    /// Ready to run until `shutdown` begins. Must be called within a tokio runtime.
    pub fn new(parts: Parts, shutdown: Shutdown) -> Pipeline {
        let Parts { config, layout, counters, log, store, metrics, readiness } = parts;
        // At 0 from the beginning, or a counter's first events would be no increase.
        for counter in counters.iter() {
            drop(metrics.counter_events_total.with_label_values(&[counter.name()]));
            drop(metrics.unmeasured_events_total.with_label_values(&[counter.name()]));
        }
        let timing = config.timing();
        let shared = Shared {
            config,
            topic: layout.topic.clone(),
            counters,
            timing,
            log,
            store,
            metrics,
            readiness,
            registry: Registry::default(),
            wake: Notify::new(),
            shutdown,
            runtime: tokio::runtime::Handle::current(),
        };
        Pipeline { shared: Arc::new(shared), layout }
    }

    /// Counts until the shutdown begins, then drains: workers stop reading, dead letters are stored, the last counts
    /// are flushed, the members leave the group. Each step takes at most what is left of `drain`.
    ///
    /// # Errors
    /// When the store does not fit the configuration, a client cannot be built, or a worker ended by itself.
    pub async fn run(self, drain: Duration) -> Result<(), PipelineError> {
        let Pipeline { shared, layout } = self;
        if !prepare_store(&shared, &layout).await? {
            return Ok(());
        }
        let Some(count) = worker_count(&shared).await else { return Ok(()) };
        let (letters, batches) = letters::channel(&shared);
        let storing = tokio::spawn(letters::run(shared.clone(), batches));
        let (handles, threads) = start_workers(&shared, count, letters)?;
        let observing = tokio::spawn(observer::run(shared.clone(), handles.clone()));
        let mut flusher = Flusher::new(shared.clone(), handles.clone());

        let mut ended = tokio::task::spawn_blocking(move || join(threads));
        let result = tokio::select! {
            () = flusher.run() => {
                ended.await.unwrap_or(Err(PipelineError::WorkerEnded))
            }
            ended = &mut ended => ended.unwrap_or(Err(PipelineError::WorkerEnded)),
        };
        observing.abort();
        // The only error is that it was aborted.
        let _ = observing.await;
        let last = async {
            // The workers are gone and with them every sender, so this ends when all letters are stored.
            let _ = storing.await;
            flusher.finish().await;
        };
        if tokio::time::timeout(drain, last).await.is_err() {
            shared.report_undrained();
        }
        leave(handles).await;
        result
    }
}

/// Asks until the store answers. `false`: the shutdown began first.
async fn prepare_store(shared: &Shared, layout: &Layout) -> Result<bool, PipelineError> {
    let mut attempt = 0;
    loop {
        match shared.store.prepare(layout, now_ms() / 1_000).await {
            Ok(()) => return Ok(true),
            Err(error) if !error.is_retryable() => return Err(error.into()),
            Err(error) => shared.report_not_ready(&error.to_string()),
        }
        attempt += 1;
        if shared.stopped_within(Backoff::AWAY.after(attempt)).await {
            return Ok(false);
        }
    }
}

/// As configured; else one per core, at most one per partition. `None`: the shutdown began before the log answered.
async fn worker_count(shared: &Shared) -> Option<usize> {
    let mut attempt = 0;
    loop {
        match shared.log.partitions().await {
            Ok(partitions) => {
                shared.registry.set_topic_partitions(partitions);
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                let enough = usize::try_from(partitions).unwrap_or(1).clamp(1, cores);
                return Some(if shared.config.workers == 0 { enough } else { shared.config.workers });
            }
            Err(error) => shared.report_not_ready(&error.to_string()),
        }
        attempt += 1;
        if shared.stopped_within(Backoff::AWAY.after(attempt)).await {
            return None;
        }
    }
}

type Ended = JoinHandle<Result<(), PipelineError>>;
type Workers = (Arc<[Handle]>, Vec<Ended>);

/// Where one worker ends, by an error or a panic, everything is shut down: its partitions would be read by nobody.
struct EndsAll(Shutdown);

impl Drop for EndsAll {
    fn drop(&mut self) {
        self.0.begin();
    }
}

#[expect(clippy::disallowed_methods, reason = "one small order for each look-up, and those are few")]
fn start_workers(shared: &Arc<Shared>, count: usize, letters: letters::Letters) -> Result<Workers, PipelineError> {
    let (mut handles, mut threads) = (Vec::new(), Vec::new());
    for index in 0..count {
        let (orders, told) = std::sync::mpsc::channel();
        let handle = Handle { index, consumer: shared.log.consumer()?, orders };
        let worker = Worker::new(shared.clone(), handle.clone(), told, letters.clone());
        let thread = std::thread::Builder::new().name(format!("worker-{index}"));
        let guard = EndsAll(shared.shutdown.clone());
        threads.push(thread.spawn(move || {
            let _guard = guard;
            worker.run()
        })?);
        handles.push(handle);
    }
    Ok((handles.into(), threads))
}

fn join(threads: Vec<Ended>) -> Result<(), PipelineError> {
    // Every thread is joined, whatever came of the ones before.
    let ended: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
    ended.into_iter().try_for_each(|one| one.unwrap_or(Err(PipelineError::WorkerEnded)))
}

async fn leave(handles: Arc<[Handle]>) {
    let leaving = tokio::task::spawn_blocking(move || handles.iter().for_each(|handle| handle.consumer.close()));
    // It fails only if closing panicked, and the process ends anyway.
    let _ = leaving.await;
}

impl Shared {
    /// Waits; `true` when the shutdown began meanwhile.
    async fn stopped_within(&self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.shutdown.begun()).await.is_ok()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod simulation;
