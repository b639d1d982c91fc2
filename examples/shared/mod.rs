//! What all examples need: a connection for each service, and an end by Ctrl-C.
#![allow(dead_code, reason = "not every example needs everything")]

use anyhow::Context;
use std::sync::Arc;
use streamgauge::envelope::Json;
use streamgauge::log::{EventLog, KafkaConfig, KafkaLog};
use streamgauge::publish::Publisher;
use streamgauge::shutdown::Shutdown;
use streamgauge::telemetry::{LogFormat, Metrics, init_logging};
use streamgauge::worker::{Config, Handler, Worker};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// Where the events are.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Kafka {
    /// Brokers of the cluster, as host:port.
    #[arg(long, global = true, default_value = "localhost:9092")]
    pub(crate) brokers: String,
    /// The topic; made when it is missing. The example's name unless this says otherwise.
    #[arg(long, global = true)]
    topic: Option<String>,
}

/// The services of one process.
pub(crate) struct Services {
    brokers: String,
    pub(crate) topic: String,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shutdown: Shutdown,
    running: JoinSet<anyhow::Result<()>>,
}

impl Services {
    /// None yet. Ctrl-C and SIGTERM begin their end from now on.
    pub(crate) fn new(kafka: &Kafka, default_topic: &str) -> anyhow::Result<Services> {
        init_logging(LogFormat::Text);
        let shutdown = Shutdown::new();
        end_on_signals(shutdown.clone())?;
        Ok(Services {
            brokers: kafka.brokers.clone(),
            topic: kafka.topic.clone().unwrap_or_else(|| default_topic.to_owned()),
            metrics: Arc::new(Metrics::new()?),
            shutdown,
            running: JoinSet::new(),
        })
    }

    /// The topic as a service of this name sees it: its consumer group is `<topic>-<name>`.
    pub(crate) fn log(&self, name: &str) -> anyhow::Result<Arc<KafkaLog>> {
        let config = KafkaConfig {
            brokers: self.brokers.clone(),
            topic: self.topic.clone(),
            group: format!("{}-{name}", self.topic),
            partitions: 6,
            ..KafkaConfig::default()
        };
        Ok(Arc::new(KafkaLog::connect(&config, self.metrics.clone())?))
    }

    /// Publishes to the topic, which is there once this returns.
    pub(crate) async fn publisher(&self) -> anyhow::Result<Arc<Publisher<Json>>> {
        let log = self.log("publisher")?;
        log.prepare().await.with_context(|| format!("Kafka at {}: `make kafka` starts one", self.brokers))?;
        Ok(Arc::new(Publisher::new(log, Json, self.metrics.clone())))
    }

    /// Starts a service with a consumer group of its own.
    pub(crate) fn work(&mut self, name: &str, config: Config, handler: impl Handler) -> anyhow::Result<()> {
        let worker = Worker::new(self.log(name)?, config, self.metrics.clone(), handler)?;
        let (shutdown, name) = (self.shutdown.clone(), name.to_owned());
        self.running.spawn(async move { worker.run(shutdown).await.context(name) });
        Ok(())
    }

    /// Starts something else that ends when the shutdown begins.
    pub(crate) fn run(&mut self, service: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.running.spawn(service);
    }

    /// Waits until all have ended. The first that fails ends the others.
    pub(crate) async fn ended(mut self) -> anyhow::Result<()> {
        let mut first = Ok(());
        while let Some(ended) = self.running.join_next().await {
            self.shutdown.begin();
            first = first.and(ended.unwrap_or_else(|panic| Err(panic.into())));
        }
        first
    }
}

fn end_on_signals(shutdown: Shutdown) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        println!("ending: what is being handled is finished and committed");
        shutdown.begin();
    });
    Ok(())
}
