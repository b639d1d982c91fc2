//! One member of the consumer group.

use super::batch::{BatchConsumer, Message};
use super::context::{Complaints, settings};
use super::members::Membership;
use super::topics::ANSWER;
use crate::log::{Consumer, Extent, KafkaConfig, LogError, LogRecord, Notice};
use crate::telemetry::Metrics;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Records that are taken from librdkafka at a time.
const CHUNK: usize = 1_000;

/// How long leaving the group may take. It goes on without us, and at worst the session times out.
const LEAVE: Duration = Duration::from_secs(3);

/// Receives what happens to the membership, within `poll`.
struct Context {
    topic: String,
    members: Mutex<Membership>,
    complaints: Complaints,
}

impl Context {
    fn members(&self) -> MutexGuard<'_, Membership> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self, positions: impl IntoIterator<Item = (i32, Offset)>) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in positions {
            list.add_partition_offset(&self.topic, partition, offset)?;
        }
        Ok(list)
    }

    fn names(&self, partitions: &[i32]) -> KafkaResult<TopicPartitionList> {
        self.list(partitions.iter().map(|partition| (*partition, Offset::Invalid)))
    }

    /// Without this answer librdkafka would never go on, so a refusal is worth an error.
    fn answered(&self, what: &str, answer: KafkaResult<()>) {
        if let Err(error) = answer {
            tracing::error!(topic = self.topic, %error, "librdkafka refuses the answer to {what}");
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.complaints.line(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition comes this way too.
        if error.rdkafka_error_code() != Some(Code::PartitionEOF) {
            self.complaints.error(&error, reason);
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, client: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<i32> = list.elements().iter().map(TopicPartitionListElem::partition).collect();
        if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.members().assigned(partitions);
            self.answered("an assignment", client.incremental_assign(&TopicPartitionList::new()));
            return;
        }
        let mut members = self.members();
        let at_once = members.closing || client.assignment_lost();
        if let Some(read) = members.revoked(partitions, at_once) {
            let answer = self.names(&read).and_then(|list| client.incremental_unassign(&list));
            self.answered("a loss", answer);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        // They are for lag tools only, and during a rebalance some are refused.
        if let Err(error) = result {
            tracing::debug!(topic = self.topic, %error, "the group's offsets were not committed");
        }
    }
}

type Client = BatchConsumer<Context>;

/// See [`Consumer`]; made by [`super::KafkaLog`].
pub(super) struct KafkaConsumer {
    brokers: String,
    client: Mutex<Option<Arc<Client>>>,
}

impl KafkaConsumer {
    /// Joins the group, now or once Kafka is there. `number` tells the members of a process apart, `bytes` may be
    /// fetched in advance.
    pub(super) fn join(
        config: &KafkaConfig,
        number: usize,
        bytes: u64,
        metrics: Arc<Metrics>,
    ) -> Result<KafkaConsumer, LogError> {
        let context =
            Context { topic: config.topic.clone(), members: Mutex::default(), complaints: Complaints::new(metrics) };
        let client = consuming(config, number, bytes).create_with_context(context);
        let client = BatchConsumer::of(client.map_err(|e| LogError::Client(e.to_string()))?)
            .ok_or_else(|| LogError::Client("it has no memory for a queue".to_owned()))?;
        client.subscribe(&[&config.topic]).map_err(|e| LogError::Client(e.to_string()))?;
        Ok(KafkaConsumer { brokers: config.brokers.clone(), client: Mutex::new(Some(Arc::new(client))) })
    }

    fn client(&self) -> Result<Arc<Client>, LogError> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(LogError::Closed)
    }

    fn failed(&self, reason: impl ToString) -> LogError {
        LogError::Kafka { brokers: self.brokers.clone(), reason: reason.to_string() }
    }

    /// Reads from these places. To take a partition from librdkafka and give it back is the one way that works in
    /// every state (a seek is refused once an offset was out of range), and it throws away what was fetched before.
    fn place(&self, client: &Client, positions: &[(i32, i64)]) -> Result<(), LogError> {
        if positions.is_empty() {
            return Ok(());
        }
        let context = client.context();
        let mut members = context.members();
        let again = members.take_started(&positions.iter().map(|(partition, _)| *partition).collect::<Vec<_>>());
        if !again.is_empty() {
            let names = context.names(&again).and_then(|names| client.incremental_unassign(&names));
            names.map_err(|e| self.failed(e))?;
        }
        client
            .forward(&context.topic, positions.iter().map(|(partition, _)| *partition))
            .map_err(|partition| self.failed(format!("the client does not know partition {partition}")))?;
        let to = positions.iter().map(|(partition, offset)| (*partition, Offset::Offset(*offset)));
        let assigned = context.list(to).and_then(|list| client.incremental_assign(&list));
        assigned.map_err(|e| self.failed(e))?;
        members.started(positions.iter().map(|(partition, _)| *partition));
        Ok(())
    }

    /// How many of them were handed out. An error of a partition is noted.
    fn hand_out(&self, client: &Client, messages: Vec<Message>, each: &mut dyn FnMut(LogRecord<'_>)) -> usize {
        let context = client.context();
        // Looked at once: what changes it is called by this thread, before and after.
        let withholds = context.members().withholds();
        let mut handed_out = 0;
        for message in messages {
            if let Some(error) = message.error() {
                self.note(client, &KafkaError::MessageConsumption(error), Some(message.partition()));
            } else if !(withholds && context.members().withheld(message.partition())) {
                each(message.record());
                handed_out += 1;
            }
        }
        handed_out
    }

    fn unassign(&self, client: &Client, partitions: &[i32]) -> Result<(), LogError> {
        let context = client.context();
        let unassign = || {
            let list = context.names(partitions)?;
            // A pause would outlast the assignment.
            if !partitions.is_empty() {
                client.resume(&list)?;
            }
            client.incremental_unassign(&list)
        };
        unassign().map_err(|e| self.failed(e))
    }

    /// Notes what went wrong, with the partition that it concerns if that is known.
    fn note(&self, client: &Client, error: &KafkaError, partition: Option<i32>) {
        let context = client.context();
        let Some(notice) = notice_of(error, partition) else { return };
        if matches!(notice, Notice::OutOfRange(_)) {
            context.complaints.error(error, "partitions are looked up again");
        }
        let mut members = context.members();
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            members.lost_all();
        }
        members.notice(notice);
    }

    /// What a list of partitions is answered: one number for each, as `fetch` finds them.
    fn ask(
        &self,
        client: &Client,
        partitions: &[i32],
        about: Offset,
        fetch: impl FnOnce(TopicPartitionList) -> KafkaResult<TopicPartitionList>,
    ) -> Result<Vec<(i32, Option<i64>)>, LogError> {
        let context = client.context();
        let list = context.list(partitions.iter().map(|partition| (*partition, about))).map_err(|e| self.failed(e))?;
        let answer = fetch(list).map_err(|e| self.failed(e))?;
        let one = |partition: &i32| {
            let found = answer.find_partition(&context.topic, *partition);
            let element = found.ok_or_else(|| self.failed(format!("no answer for partition {partition}")))?;
            element.error().map_err(|e| self.failed(format!("partition {partition}: {e}")))?;
            Ok((*partition, if let Offset::Offset(offset) = element.offset() { Some(offset) } else { None }))
        };
        partitions.iter().map(one).collect()
    }

    /// The first or the next offset of each, by one request to each broker. librdkafka hands the marks for beginning
    /// and end on as the times that stand for them; under read_committed the end is the last stable offset.
    fn bounds(&self, client: &Client, partitions: &[i32], about: Offset) -> Result<Vec<(i32, i64)>, LogError> {
        let answers = self.ask(client, partitions, about, |list| client.offsets_for_times(list, ANSWER))?;
        let known = |(partition, offset): (i32, Option<i64>)| {
            offset.map(|offset| (partition, offset)).ok_or_else(|| self.failed("an offset is unknown"))
        };
        answers.into_iter().map(known).collect()
    }
}

/// In ms. The client refuses one that is shorter than the session.
fn longest_poll_interval(config: &KafkaConfig) -> u64 {
    let session = config.properties.get("session.timeout.ms").and_then(|text| text.parse().ok());
    session.unwrap_or(0).max(30_000)
}

/// The settings of a group's member.
fn consuming(config: &KafkaConfig, number: usize, bytes: u64) -> ClientConfig {
    let kilobytes = (bytes / 1_024).max(256).to_string();
    let poll_interval = longest_poll_interval(config).to_string();
    let member = config.instance_id.as_ref().map(|id| format!("{id}-{number}"));
    let ours = [
        // The default of a second stalls a full queue: 12.2 s instead of 3.3 s for 4 million records.
        ("fetch.queue.backoff.ms", "5"),
        ("queued.min.messages", "10000"),
        // By partition, before decompression. With 1 MiB the peak was 37 to 39 MB instead of 19 to 23, at a rate that
        // differs by no more than from run to run.
        ("fetch.message.max.bytes", "262144"),
        // A partition that starts or seeks waits for the answer to the fetch that is under way: 0.1 s, not 0.5 s.
        ("fetch.wait.max.ms", "100"),
        ("session.timeout.ms", "10000"),
        // It is also how long the answer to a JoinGroup is waited for, and with it for the end of a connection that is
        // dead without saying so: five minutes by default. Workers poll at least each second.
        ("max.poll.interval.ms", poll_interval.as_str()),
        ("socket.timeout.ms", "30000"),
        // A rebalance waits for each member's next heartbeat.
        ("heartbeat.interval.ms", "1000"),
    ];
    let mut fixed = vec![
        ("group.id", config.group.as_str()),
        ("queued.max.messages.kbytes", kilobytes.as_str()),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("isolation.level", "read_committed"),
        ("auto.offset.reset", "error"),
        ("partition.assignment.strategy", "cooperative-sticky"),
    ];
    fixed.extend(member.as_ref().map(|member| ("group.instance.id", member.as_str())));
    settings(config, &ours, &fixed)
}

/// Those of the positions whose partitions the group still takes a commit of.
fn held(client: &Client, positions: &[(i32, i64)]) -> Vec<(i32, Offset)> {
    let members = client.context().members();
    let held = positions.iter().filter(|(partition, _)| members.may_commit(*partition));
    held.map(|(partition, offset)| (*partition, Offset::Offset(*offset))).collect()
}

/// What the pipeline has to know of an error; nothing of the end of a partition. An error that does not say which
/// partition it concerns, and might have cost one its place, concerns all of them.
fn notice_of(error: &KafkaError, partition: Option<i32>) -> Option<Notice> {
    let code = match error {
        KafkaError::PartitionEOF(_) => return None,
        KafkaError::MessageConsumptionFatal(code) => {
            return Some(Notice::Fatal(code.to_string()));
        }
        error => error.rdkafka_error_code(),
    };
    match code {
        Some(code) if is_elsewhere(code) => Some(Notice::Failed(error.to_string())),
        _ => Some(Notice::OutOfRange(partition)),
    }
}

/// Errors of connections, of the group and of rights: the client tries again by itself, its positions stand.
fn is_elsewhere(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::TimedOutQueue
            | Code::WaitingForCoordinator
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::RebalanceInProgress
            | Code::UnknownMemberId
            | Code::IllegalGeneration
            | Code::PollExceeded
            | Code::SSL
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::GroupAuthorizationFailed
            | Code::TopicAuthorizationFailed
    )
}

impl Consumer for KafkaConsumer {
    fn poll(&self, timeout: Duration, max: usize, each: &mut dyn FnMut(LogRecord<'_>)) -> Vec<Notice> {
        let Ok(client) = self.client() else { return Vec::new() };
        // First what happens to the membership: what it takes away is not handed out any more.
        while let Some(event) = client.poll(Duration::ZERO) {
            // The records of all partitions are forwarded, so none comes this way.
            event.err().iter().for_each(|error| self.note(&client, error, None));
        }
        let mut notices = client.context().members().notices();
        let mut wait = if notices.is_empty() { timeout } else { Duration::ZERO };
        let mut handed_out = 0;
        while handed_out < max {
            let room = CHUNK.min(max - handed_out);
            let messages = client.batch(wait, room);
            let were_all = messages.len() < room;
            handed_out += self.hand_out(&client, messages, each);
            if were_all {
                break;
            }
            wait = Duration::ZERO;
        }
        notices.append(&mut client.context().members().notices());
        notices
    }

    fn start(&self, positions: &[(i32, i64)]) -> Result<(), LogError> {
        let client = self.client()?;
        let context = client.context();
        let placed = context.members().place(positions);
        self.place(&client, &placed)?;
        let partitions: Vec<i32> = placed.iter().map(|(partition, _)| *partition).collect();
        self.resume(&partitions)
    }

    fn pause(&self, partitions: &[i32]) -> Result<(), LogError> {
        let client = self.client()?;
        let context = client.context();
        let list = context.names(&context.members().read_of(partitions)).map_err(|e| self.failed(e))?;
        client.pause(&list).map_err(|e| self.failed(e))
    }

    fn resume(&self, partitions: &[i32]) -> Result<(), LogError> {
        let client = self.client()?;
        let context = client.context();
        let list = context.names(&context.members().read_of(partitions)).map_err(|e| self.failed(e))?;
        client.resume(&list).map_err(|e| self.failed(e))
    }

    fn release(&self, partitions: &[i32]) -> Result<(), LogError> {
        let client = self.client()?;
        let released = client.context().members().released(partitions);
        if let Some(read) = released {
            self.unassign(&client, &read)?;
        }
        let parked = client.context().members().unpark();
        let placed = self.place(&client, &parked);
        if placed.is_err() {
            // They wait for nothing now, and nobody reads them: they are looked up again.
            let mut members = client.context().members();
            parked.iter().for_each(|(partition, _)| members.notice(Notice::OutOfRange(Some(*partition))));
        }
        placed
    }

    fn commit(&self, positions: &[(i32, i64)]) {
        let Ok(client) = self.client() else { return };
        let held = held(&client, positions);
        if held.is_empty() {
            return;
        }
        let committed = client.context().list(held).and_then(|list| client.commit(&list, CommitMode::Async));
        if let Err(error) = committed {
            tracing::debug!(%error, "the group's offsets are not committed");
        }
    }

    fn commit_now(&self, positions: &[(i32, i64)]) -> Result<(), LogError> {
        if positions.is_empty() {
            return Ok(());
        }
        let client = self.client()?;
        let held = held(&client, positions);
        if held.len() < positions.len() {
            return Err(self.failed("a partition was lost before its position was committed"));
        }
        let committed = client.context().list(held).and_then(|list| client.commit(&list, CommitMode::Sync));
        committed.map_err(|e| self.failed(e))
    }

    fn extents(&self, partitions: &[i32]) -> Result<Vec<Extent>, LogError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let client = self.client()?;
        let starts = self.bounds(&client, partitions, Offset::Beginning)?;
        let ends = self.bounds(&client, partitions, Offset::End)?;
        let committed =
            self.ask(&client, partitions, Offset::Invalid, |list| client.committed_offsets(list, ANSWER))?;
        let both = starts.into_iter().zip(ends).zip(committed);
        Ok(both
            .map(|(((partition, start), (_, end)), (_, committed))| Extent { partition, start, end, committed })
            .collect())
    }

    fn ends(&self, partitions: &[i32]) -> Result<Vec<(i32, i64)>, LogError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        self.bounds(&*self.client()?, partitions, Offset::End)
    }

    fn close(&self) {
        let Some(client) = self.client.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let read = client.context().members().close();
        // It answers a revocation that waits, too. Refused after a fatal error: then there is nothing to give up.
        let _ = self.unassign(&client, &read);
        let (left, has_left) = sync_channel(1);
        let leaving = std::thread::Builder::new().name("leave-group".to_owned()).spawn(move || {
            drop(client);
            let _ = left.send(());
        });
        if leaving.is_err() || has_left.recv_timeout(LEAVE).is_err() {
            tracing::warn!("the consumer group was not left in time; its session will time out");
        }
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        // Leaving needs the membership's answers, which only `close` gives.
        self.close();
    }
}
