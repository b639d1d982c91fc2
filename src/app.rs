//! The application: builds every component, wires them, starts them, drains them. Nothing else knows them all.

use crate::admin::Admin;
use crate::config::Config;
use crate::counter::Counters;
use crate::embedded::EmbeddedFile;
use crate::http::Server;
use crate::ingest::{self, Ingest, Spool, SpoolLogs};
use crate::log::{self, EmbeddedLog, EventLog, KafkaLog, LogError};
use crate::pipeline::{Parts, Pipeline};
use crate::query::Query;
use crate::shutdown::Shutdown;
use crate::store::{
    self, CounterStore, EmbeddedSalts, EmbeddedStore, Layout, LocalNotices, Notices, RedisNotices, RedisSalts,
    RedisStore, SaltStore, StoreError,
};
use crate::tail;
use crate::telemetry::{Metrics, Readiness, Role};
use crate::visitor;
use anyhow::{Context, bail};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often ingest looks whether it can store events.
const INGEST_LOOK: Duration = Duration::from_secs(2);

/// The addresses that an [`App`] listens on, with the ports that it really has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Where events come in, if this process takes them.
    pub ingest: Option<SocketAddr>,
    /// Where questions are answered, if this process answers them.
    pub query: Option<SocketAddr>,
    /// Metrics and health.
    pub admin: SocketAddr,
}

/// One process, built and bound, ready to run.
pub struct App {
    timeout: Duration,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    embedded: Option<Arc<EmbeddedFile>>,
    log: Option<Arc<dyn EventLog>>,
    notices: Arc<dyn Notices>,
    salts: Option<Arc<dyn SaltStore>>,
    admin: (Server, Arc<Admin>),
    spool: Option<Arc<Spool>>,
    ingest: Option<(Server, Arc<Ingest>)>,
    query: Option<(Server, Arc<Query>)>,
    pipeline: Option<Parts>,
}

impl App {
    /// Builds the components of these roles and binds their listeners. Kafka and Redis may be away: the roles wait
    /// for them once the app runs, and `/readyz` says so.
    ///
    /// # Errors
    /// When the configuration does not fit together, an address is taken, or the embedded file cannot be opened.
    pub async fn build(config: Config, roles: &[Role]) -> anyhow::Result<App> {
        let metrics = Arc::new(Metrics::new().context("cannot build the metrics")?);
        let readiness = Arc::new(Readiness::new(roles));
        let counters = Arc::new(Counters::new(config.counters.clone())?);
        let embedded = embedded_file(&config, roles)?;
        let has = |role| roles.contains(&role);

        let log = if has(Role::Ingest) || has(Role::Process) {
            Some(open_log(&config, embedded.as_ref(), &metrics).await?)
        } else {
            None
        };
        let store = if has(Role::Process) || has(Role::Query) {
            Some(open_store(&config, embedded.as_ref(), &counters).await?)
        } else {
            None
        };
        let admin = Server::bind(config.admin.listen, "admin", config.admin.limits(), metrics.clone())
            .await
            .with_context(|| format!("admin.listen: cannot listen on {}", config.admin.listen))?;
        let spool = match &log {
            Some(log) if has(Role::Ingest) => open_spool(&config, log, &metrics).await?,
            _ => None,
        };
        let ingest = match &log {
            Some(log) if has(Role::Ingest) => Some(bind_ingest(&config, log, &spool, &counters, &metrics).await?),
            _ => None,
        };
        let notices = open_notices(&config)?;
        let wants_salts = ingest.as_ref().is_some_and(|(_, ingest)| ingest.salts().are_wanted());
        let salts = open_salts(&config, embedded.as_ref(), wants_salts).await?;
        let query = match &store {
            Some(store) if has(Role::Query) => {
                let (server, query) = bind_query(&config, store, &counters, &metrics, &readiness).await?;
                Some((server, Arc::new(query.hearing(notices.clone()))))
            }
            _ => None,
        };
        let pipeline = match (&log, &store) {
            (Some(log), Some(store)) if has(Role::Process) => Some(Parts {
                config: config.pipeline.clone(),
                layout: layout(&config),
                counters,
                log: log.clone(),
                store: store.clone(),
                metrics: metrics.clone(),
                readiness: readiness.clone(),
            }),
            _ => None,
        };
        let admin = (admin, Arc::new(Admin::new(metrics.clone(), readiness.clone())));
        let timeout = config.shutdown_timeout;
        Ok(App { timeout, metrics, readiness, embedded, log, notices, salts, admin, spool, ingest, query, pipeline })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        Addresses {
            ingest: self.ingest.as_ref().map(|(server, _)| server.local_addr()),
            query: self.query.as_ref().map(|(server, _)| server.local_addr()),
            admin: self.admin.0.local_addr(),
        }
    }

    /// The catalogue that its components count in.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Runs until the shutdown begins, or a component cannot go on; then drains. The order of the drain is the order
    /// of the lines at the end.
    ///
    /// # Errors
    /// What a component could not go on for.
    pub async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let App { timeout, metrics, readiness, embedded, log, notices, salts, admin, spool, ingest, query, pipeline } =
            self;
        let (accepting, forwarding) = (Shutdown::new(), Shutdown::new());
        let (counting, serving) = (Shutdown::new(), Shutdown::new());
        let mut failures: JoinSet<anyhow::Result<()>> = JoinSet::new();

        let admin = tokio::spawn(admin.0.run(admin.1, serving.clone()));
        let query = query.map(|(server, query)| {
            let (monitored, until) = (query.clone(), serving.clone());
            let served = server.run(query, serving.clone());
            tokio::spawn(async move { _ = tokio::join!(monitored.run_monitor(until), served) })
        });
        let forwarder = spool.clone().map(|spool| tokio::spawn(spool.run(forwarding.clone())));
        let stores = Stores { log: log.clone(), spool: spool.clone(), readiness, takes_events: ingest.is_some() };
        let ingest = ingest.map(|(server, ingest)| {
            if let Some(salts) = salts {
                tokio::spawn(visitor::keep(ingest.salts(), salts, serving.clone()));
            }
            tokio::spawn(tail::publish(ingest.tail(), notices, metrics, serving.clone()));
            tokio::spawn(server.run(ingest, accepting.clone()))
        });
        if let Some(log) = log.clone() {
            failures.spawn(tend_log(log, stores, pipeline, counting.clone(), timeout / 2));
        }

        let mut result = tokio::select! {
            () = shutdown.begun() => Ok(()),
            Some(failed) = failures.join_next() => failed.context("a component panicked").flatten(),
        };
        let deadline = Instant::now() + timeout;
        let left = || deadline.saturating_duration_since(Instant::now());
        tracing::info!("shutting down");

        // 1. Take no more events, and answer those in flight.
        accepting.begin();
        settle(ingest, left() / 2).await;
        // 2. What was handed to the log is acknowledged or has failed. What is in the spool stays there.
        if let Some(log) = &log {
            log.drain(left() / 4).await;
        }
        forwarding.begin();
        settle(forwarder, left() / 4).await;
        // 3. The last counts are flushed, and the members leave the group.
        counting.begin();
        while let Ok(Some(ended)) = tokio::time::timeout(left(), failures.join_next()).await {
            result = result.and(ended.context("a component panicked").flatten());
        }
        // 4. Nobody asks any more.
        serving.begin();
        settle(query, left().min(Duration::from_secs(1))).await;
        settle(Some(admin), left().min(Duration::from_secs(1))).await;
        // 5. The files are closed, whoever may still have them: the next process can open them at once.
        if embedded.is_some() || spool.is_some() {
            let closing = tokio::task::spawn_blocking(move || {
                spool.iter().for_each(|spool| spool.close());
                embedded.iter().for_each(|file| file.close());
            });
            // It fails only by a panic, which was reported, or because the time is over.
            let _ = tokio::time::timeout(left(), closing).await;
        }
        tracing::info!("stopped");
        result
    }
}

/// Waits for a server to drain; what has not drained in time is cut off.
async fn settle(server: Option<tokio::task::JoinHandle<()>>, within: Duration) {
    if let Some(mut server) = server
        && tokio::time::timeout(within, &mut server).await.is_err()
    {
        server.abort();
    }
}

/// Where ingest can store events.
struct Stores {
    log: Option<Arc<dyn EventLog>>,
    spool: Option<Arc<Spool>>,
    readiness: Arc<Readiness>,
    takes_events: bool,
}

impl Stores {
    /// Looks again and again whether ingest can store events anywhere, and says so.
    async fn watch(self) {
        let Some(log) = self.log.filter(|_| self.takes_events) else { return };
        loop {
            let able = match (log.ready().await, &self.spool) {
                (Ok(()), _) => Ok(()),
                (Err(log), None) => Err(log.to_string()),
                (Err(log), Some(spool)) => spool.ready().await.map_err(|spool| format!("{log}; {spool}")),
            };
            match able {
                Ok(()) => self.readiness.ready(Role::Ingest),
                Err(reason) => self.readiness.not_ready(Role::Ingest, reason),
            }
            tokio::time::sleep(INGEST_LOOK).await;
        }
    }
}

/// Prepares the log, then runs the pipeline if this process counts. Tells whether ingest can store events: once the log is
/// prepared, with a spool from the beginning.
async fn tend_log(
    log: Arc<dyn EventLog>,
    stores: Stores,
    pipeline: Option<Parts>,
    shutdown: Shutdown,
    drain: Duration,
) -> anyhow::Result<()> {
    let (readiness, spooling) = (stores.readiness.clone(), stores.spool.is_some());
    let waiting = |error: &LogError| {
        let roles: &[Role] = if spooling { &[Role::Process] } else { &[Role::Ingest, Role::Process] };
        roles.iter().for_each(|role| readiness.not_ready(*role, error.to_string()));
    };
    // Whoever is among them holds the log: nobody does any more once the application has ended.
    let mut watching = JoinSet::new();
    let prepared = log::prepare(&*log, &shutdown, waiting);
    let prepared = if spooling {
        watching.spawn(stores.watch());
        prepared.await?
    } else {
        let prepared = prepared.await?;
        watching.spawn(stores.watch());
        prepared
    };
    drop(log);
    let result = match pipeline {
        Some(parts) if prepared => Pipeline::new(parts, shutdown).run(drain).await.map_err(Into::into),
        _ => {
            shutdown.begun().await;
            Ok(())
        }
    };
    watching.shutdown().await;
    result
}

fn layout(config: &Config) -> Layout {
    Layout {
        topic: config.log.kafka.topic.clone(),
        group: config.log.kafka.group.clone(),
        counters: config.counters.clone(),
    }
}

/// The file that an embedded log and an embedded store share. Only one process can have it, so it has to have all
/// roles.
fn embedded_file(config: &Config, roles: &[Role]) -> anyhow::Result<Option<Arc<EmbeddedFile>>> {
    let log = config.log.kind == log::Kind::Embedded;
    let store = config.store.kind == store::Kind::Embedded;
    if !log && !store {
        return Ok(None);
    }
    if roles.len() < Role::ALL.len() {
        bail!(
            "an embedded log or store belongs to one process: use `streamgauge run`, or set log.kind = \"kafka\" and \
             store.kind = \"redis\""
        );
    }
    // With the store elsewhere, counts must never be ahead of the log that a power cut may shorten.
    let always_synced = log && !store;
    Ok(Some(EmbeddedFile::open(&config.embedded, always_synced)?))
}

async fn open_log(
    config: &Config,
    file: Option<&Arc<EmbeddedFile>>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Arc<dyn EventLog>> {
    Ok(match (config.log.kind, file) {
        (log::Kind::Embedded, Some(file)) => {
            let names = (config.log.kafka.topic.as_str(), config.log.kafka.group.as_str());
            Arc::new(EmbeddedLog::open(file.clone(), &config.embedded, names, metrics.clone()).await?)
        }
        (log::Kind::Embedded | log::Kind::Kafka, _) => Arc::new(KafkaLog::connect(&config.log.kafka, metrics.clone())?),
    })
}

async fn open_store(
    config: &Config,
    file: Option<&Arc<EmbeddedFile>>,
    counters: &Arc<Counters>,
) -> anyhow::Result<Arc<dyn CounterStore>> {
    Ok(match (config.store.kind, file) {
        (store::Kind::Embedded, Some(file)) => Arc::new(EmbeddedStore::open(file.clone(), counters.clone()).await?),
        (store::Kind::Embedded | store::Kind::Redis, _) => {
            Arc::new(RedisStore::new(&config.store.redis, counters.clone())?)
        }
    })
}

/// The spool beside a Kafka log, when there is to be one. The configuration has made sure that the log is Kafka.
async fn open_spool(
    config: &Config,
    log: &Arc<dyn EventLog>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Option<Arc<Spool>>> {
    let Some(path) = config.ingest.spool.path.clone() else { return Ok(None) };
    let forward = Arc::new(KafkaLog::connect_in_order(&config.log.kafka, metrics.clone())?);
    let logs = SpoolLogs { direct: log.clone(), forward };
    let horizon = config.pipeline.dedupe_horizon;
    Ok(Some(Arc::new(Spool::open(path, &config.ingest.spool, horizon, logs, metrics.clone()).await?)))
}

/// Where processes of one store tell each other what comes in. An embedded store has only one.
fn open_notices(config: &Config) -> Result<Arc<dyn Notices>, StoreError> {
    Ok(match config.store.kind {
        store::Kind::Embedded => Arc::new(LocalNotices::default()),
        store::Kind::Redis => Arc::new(RedisNotices::new(&config.store.redis)?),
    })
}

/// Where the salts of visitors' ids are kept. An embedded store is opened even if there are to be none, for it has to forget
/// those that it has.
async fn open_salts(
    config: &Config,
    file: Option<&Arc<EmbeddedFile>>,
    wanted: bool,
) -> Result<Option<Arc<dyn SaltStore>>, StoreError> {
    Ok(match (config.store.kind, file) {
        (store::Kind::Embedded, Some(file)) => Some(Arc::new(EmbeddedSalts::open(file.clone()).await?)),
        _ if wanted => Some(Arc::new(RedisSalts::new(&config.store.redis)?)),
        _ => None,
    })
}

async fn bind_ingest(
    config: &Config,
    log: &Arc<dyn EventLog>,
    spool: &Option<Arc<Spool>>,
    counters: &Arc<Counters>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<(Server, Arc<Ingest>)> {
    let listen = config.ingest.listen;
    let server = Server::bind(listen, "ingest", config.ingest.limits(), metrics.clone())
        .await
        .with_context(|| format!("ingest.listen: cannot listen on {listen}"))?;
    let counts = ingest::Counts { counters: counters.clone(), timing: config.pipeline.timing() };
    let ingest = Ingest::new(config.ingest.clone(), &config.sites, counts, log.clone(), metrics.clone())?;
    Ok((server, Arc::new(ingest.with_spool(spool.clone()))))
}

async fn bind_query(
    config: &Config,
    store: &Arc<dyn CounterStore>,
    counters: &Arc<Counters>,
    metrics: &Arc<Metrics>,
    readiness: &Arc<Readiness>,
) -> anyhow::Result<(Server, Query)> {
    let listen = config.query.listen;
    let server = Server::bind(listen, "query", config.query.limits(), metrics.clone())
        .await
        .with_context(|| format!("query.listen: cannot listen on {listen}"))?;
    let topic = config.log.kafka.topic.clone();
    let query = Query::new(
        config.query.clone(),
        store.clone(),
        counters.clone(),
        topic,
        metrics.clone(),
        readiness.clone(),
        config.pipeline.flush_interval,
    )?;
    Ok((server, query))
}
