//! A real Kafka: one KRaft broker or three, from the jars that `make test` fetched.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::MetadataPartition;

use super::process::Process;
use super::topic::{self, Raw, Record};
use super::{eventually, free_ports, unique};

/// 3 s on an idle machine; the rest is for a busy one.
const START_DEADLINE: Duration = Duration::from_secs(90);

pub(crate) struct Kafka {
    process: Process,
    port: u16,
    /// `host:port` of all brokers of its cluster.
    brokers: String,
    /// How many brokers that is, and how many copies of a record there are.
    nodes: usize,
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
        let kafka =
            Self { process: Process::new("kafka"), port, brokers: format!("127.0.0.1:{port}"), nodes: 1, proxied };
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

    /// `host:port` of all brokers of its cluster, for `bootstrap.servers`.
    pub(crate) fn brokers(&self) -> String {
        self.brokers.clone()
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
            replication: TopicReplication::Fixed(self.nodes as i32),
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
        Kafka::produce_with(self.client(), topic, records).await;
    }

    /// The same by a client of these settings.
    pub(crate) async fn produce_with<T: Into<Raw>>(
        client: ClientConfig,
        topic: &str,
        records: impl IntoIterator<Item = T> + Send + 'static,
    ) {
        let topic = topic.to_owned();
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

    /// By partition: the group's committed offset, and where the partition ends.
    pub(crate) async fn positions(&self, topic: &str, group: &str) -> Vec<(Option<i64>, i64)> {
        let (client, topic, group) = (self.client(), topic.to_owned(), group.to_owned());
        let asked = tokio::task::spawn_blocking(move || topic::positions(&client, &topic, &group));
        asked.await.expect("a thread").expect("positions")
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

    /// SIGTERM, and waits for the end without holding up a thread.
    pub(crate) async fn ended(&self) {
        self.process.signal(Signal::SIGTERM);
        self.process.ended(START_DEADLINE).await;
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
        let mut command = script("run", self.process.dir());
        if self.nodes > 1 {
            command.env("KAFKA_JAVA_OPTS", "-Xms64m -Xmx256m -XX:+UseSerialGC -Xshare:auto");
        }
        self.process.spawn(command);
    }

    /// Whether its process was started and not ended by us.
    pub(crate) fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// Waits until it answers requests.
    pub(crate) async fn until_up(&self) {
        let (mut client, broker, nodes) = (self.client(), format!("127.0.0.1:{}", self.port), self.nodes);
        client.set("bootstrap.servers", &broker);
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
                Ok(brokers) if brokers == nodes => return,
                other => assert!(
                    started.elapsed() < START_DEADLINE,
                    "kafka on {broker} does not answer within {START_DEADLINE:?}: {other:?}\n{}",
                    self.process.log_tail()
                ),
            }
        }
    }
}

/// Several brokers, each of them a controller too; every record has a copy on each, and two of them acknowledge it.
pub(crate) struct KafkaCluster {
    nodes: Vec<Kafka>,
}

impl KafkaCluster {
    /// Three new brokers with empty logs, that answer requests and know of each other.
    pub(crate) async fn start() -> KafkaCluster {
        let (ports, controllers) = (free_ports::<3>(), free_ports::<3>());
        let listed = |ports: [u16; 3], name: fn(usize) -> String| {
            let all = ports.into_iter().enumerate();
            all.map(|(index, port)| format!("{}127.0.0.1:{port}", name(index))).collect::<Vec<_>>().join(",")
        };
        let (brokers, quorum) =
            (listed(ports, |_| String::new()), listed(controllers, |index| format!("{}@", index + 1)));
        let node = |port| Kafka {
            process: Process::new("kafka"),
            port,
            brokers: brokers.clone(),
            nodes: ports.len(),
            proxied: None,
        };
        let cluster = KafkaCluster { nodes: ports.map(node).into() };
        let preparing = cluster.nodes.iter().enumerate().map(|(index, kafka)| {
            let mut command = script("prepare-node", kafka.process.dir());
            command.args([(index + 1).to_string(), kafka.port.to_string(), quorum.clone()]);
            command.stderr(Stdio::piped()).spawn().expect("scripts/kafka.sh")
        });
        for preparing in preparing.collect::<Vec<_>>() {
            let prepared = preparing.wait_with_output().expect("its end");
            assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
        }
        cluster.nodes.iter().for_each(Kafka::spawn);
        cluster.until_up().await;
        cluster
    }

    /// A door to all of them; it stays open when this broker is away.
    pub(crate) fn any(&self) -> &Kafka {
        &self.nodes[0]
    }

    /// One of them.
    pub(crate) fn node(&self, number: usize) -> &Kafka {
        &self.nodes[number]
    }

    /// Starts those again that were killed, and waits until all are there.
    pub(crate) async fn heal(&self) {
        self.nodes.iter().filter(|kafka| !kafka.is_running()).for_each(Kafka::spawn);
        self.until_up().await;
    }

    /// Waits until each of them answers and knows of the others.
    pub(crate) async fn until_up(&self) {
        for kafka in &self.nodes {
            kafka.until_up().await;
        }
    }

    /// Which of them leads a partition.
    pub(crate) async fn leader(&self, topic: &str, partition: i32) -> usize {
        let (client, name) = (self.any().client(), topic.to_owned());
        eventually(START_DEADLINE, &format!("partition {partition} of {topic} has a leader"), async || {
            let (client, name) = (client.clone(), name.clone());
            let answer = tokio::task::spawn_blocking(move || {
                let consumer: BaseConsumer = client.create()?;
                let metadata = consumer.fetch_metadata(Some(&name), Duration::from_secs(2))?;
                let partitions = metadata.topics()[0].partitions();
                Ok::<_, rdkafka::error::KafkaError>(
                    partitions.iter().find(|p| p.id() == partition).map(MetadataPartition::leader),
                )
            });
            match answer.await.expect("no panic") {
                Ok(Some(id)) if id > 0 => Ok(id as usize - 1),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }
}

fn script(verb: &str, dir: &Path) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka.sh"));
    command.arg(verb).arg(dir);
    command
}
