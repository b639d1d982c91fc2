//! A real Kafka: one KRaft broker, from the jars that `make test` fetched.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::process::Process;
use super::topic::{self, Raw, Record};
use super::{free_ports, unique};

/// 3 s on an idle machine; the rest is for a busy one.
const START_DEADLINE: Duration = Duration::from_secs(90);

pub(crate) struct Kafka {
    process: Process,
    port: u16,
    /// Where its second listener sends clients: to a proxy, which has to lead back to that listener.
    proxied: Option<Proxied>,
}

/// The ports of a broker whose clients come through a proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proxied {
    /// The broker's listener behind the proxy.
    pub(crate) behind: u16,
    /// The proxy's, which the broker advertises.
    pub(crate) proxy: u16,
}

impl Kafka {
    /// A new broker with an empty log, that answers requests.
    pub(crate) async fn start() -> Self {
        Self::start_proxied(None).await
    }

    /// The same with a second listener behind a proxy, which the caller starts on these ports.
    pub(crate) async fn start_behind(proxied: Proxied) -> Self {
        Self::start_proxied(Some(proxied)).await
    }

    async fn start_proxied(proxied: Option<Proxied>) -> Self {
        let [port, controller] = free_ports();
        let kafka = Self { process: Process::new("kafka"), port, proxied };
        let proxied = proxied.map(|proxied| [proxied.behind, proxied.proxy]);
        let ports = [port, controller].into_iter().chain(proxied.into_iter().flatten());
        let prepared = script("prepare", kafka.process.dir())
            .args(ports.map(|port| port.to_string()))
            .output()
            .expect("scripts/kafka.sh");
        assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
        kafka.restart().await;
        kafka
    }

    /// `host:port` of the proxy, for `bootstrap.servers` of a client that is to come through it.
    pub(crate) fn proxied_brokers(&self) -> String {
        format!("127.0.0.1:{}", self.proxied.expect("started behind a proxy").proxy)
    }

    /// `host:port`, for `bootstrap.servers`.
    pub(crate) fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A client's settings; the caller adds its own.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers());
        // A broker that restarts is found again at once.
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "200");
        config
    }

    /// A new topic with a name of its own.
    pub(crate) async fn topic(&self, name: &str, partitions: i32) -> String {
        self.topic_with(name, partitions, &[]).await
    }

    /// The same, with settings such as `("message.timestamp.type", "LogAppendTime")`.
    pub(crate) async fn topic_with(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
        let name = unique(name);
        self.create(&name, partitions, settings).await;
        name
    }

    /// Creates a topic of exactly this name.
    pub(crate) async fn create(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let topic = NewTopic {
            name,
            num_partitions: partitions,
            replication: TopicReplication::Fixed(1),
            config: settings.to_vec(),
        };
        let made = self.admin().create_topics([&topic], &AdminOptions::new()).await.expect("an answer");
        assert_eq!(made, [Ok(name.to_owned())]);
    }

    /// Produces all of them, key and value, and waits until each is acknowledged.
    pub(crate) async fn produce<T: Into<Raw>>(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = T> + Send + 'static,
    ) {
        let (client, topic) = (self.client(), topic.to_owned());
        let work = move || topic::produce(&client, &topic, records.into_iter().map(Into::into));
        tokio::task::spawn_blocking(work).await.expect("all acknowledged");
    }

    /// Everything that the topic holds now: by partition, in order.
    pub(crate) async fn read(&self, topic: &str) -> Vec<Record> {
        let (client, topic) = (self.client(), topic.to_owned());
        let work = move || topic::read(&client, &topic);
        tokio::task::spawn_blocking(work).await.expect("no panic").expect("the topic")
    }

    /// Hands everything that the topic holds now to `each`, each partition in its order, and keeps nothing. Returns
    /// what became of `each`, and where the partitions end.
    pub(crate) async fn fold<T: Send + 'static>(
        &self,
        topic: &str,
        mut state: T,
        each: impl Fn(&mut T, Record) + Send + 'static,
    ) -> (T, BTreeMap<i32, i64>) {
        let (client, topic) = (self.client(), topic.to_owned());
        let work =
            move || topic::for_each(&client, &topic, |record| each(&mut state, record)).map(|ends| (state, ends));
        tokio::task::spawn_blocking(work).await.expect("no panic").expect("the topic")
    }

    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("an admin client")
    }

    /// SIGKILL. What was acknowledged is in the page cache and survives.
    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn terminate(&self) {
        self.process.terminate();
    }

    /// SIGSTOP: connections stay, answers do not come.
    pub(crate) fn pause(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// Starts it again on the same data and port, killing it before if it runs.
    pub(crate) async fn restart(&self) {
        self.spawn();
        self.until_up().await;
    }

    /// The same without waiting until it answers.
    pub(crate) fn spawn(&self) {
        self.process.spawn(script("run", self.process.dir()));
    }

    /// Whether its process was started and not ended by us.
    pub(crate) fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// Waits until it answers requests.
    pub(crate) async fn until_up(&self) {
        let (client, broker) = (self.client(), self.brokers());
        let started = Instant::now();
        loop {
            self.process.assert_alive();
            let client = client.clone();
            // The call waits for the broker by itself, up to its time-out.
            let answer = tokio::task::spawn_blocking(move || {
                let consumer: BaseConsumer = client.create()?;
                let metadata = consumer.fetch_metadata(None, Duration::from_secs(2))?;
                Ok::<_, rdkafka::error::KafkaError>(metadata.brokers().len())
            });
            match answer.await.expect("no panic") {
                Ok(brokers) if brokers > 0 => return,
                other => assert!(
                    started.elapsed() < START_DEADLINE,
                    "kafka on {broker} does not answer within {START_DEADLINE:?}: {other:?}\n{}",
                    self.process.log_tail()
                ),
            }
        }
    }
}

fn script(verb: &str, dir: &Path) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka.sh"));
    command.arg(verb).arg(dir);
    command
}
