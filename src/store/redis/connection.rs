//! One Redis or a cluster of them, behind one connection.

use super::script::Call;
use crate::store::RedisConfig;
use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisFuture, RedisResult,
    ServerErrorKind, Value, cmd, pipe,
};
use std::collections::HashMap;
use std::time::Duration;

pub(super) const CONNECT: Duration = Duration::from_secs(2);
/// Longer than the pause that a fork for a snapshot causes.
pub(super) const RESPONSE: Duration = Duration::from_secs(5);

/// Waits before a request is sent again that a node of a cluster did not take because the slot has moved. Meanwhile
/// the client reads anew which node has which slot.
const MOVED: [Duration; 3] = [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(150)];

/// Makes connections.
pub(super) enum Connector {
    Single(Client, AsyncConnectionConfig),
    Cluster(ClusterClient),
}

impl Connector {
    pub(super) fn new(config: &RedisConfig) -> RedisResult<Connector> {
        if !config.is_cluster() {
            let timeouts = AsyncConnectionConfig::new();
            let timeouts = timeouts.set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(RESPONSE));
            return Ok(Connector::Single(config.url.client()?, timeouts));
        }
        let builder = ClusterClient::builder(config.nodes()?).connection_timeout(CONNECT).response_timeout(RESPONSE);
        // It asks nothing again by itself: it would wait for a slot that is being moved until the time-out hides the
        // reason, and it follows ASK in a way that concurrent requests disturb.
        builder.retries(0).build().map(Connector::Cluster)
    }

    pub(super) async fn connect(&self) -> RedisResult<Connection> {
        match self {
            Connector::Single(client, timeouts) => {
                client.get_multiplexed_async_connection_with_config(timeouts).await.map(Connection::Single)
            }
            Connector::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }

    /// How long that may take, whatever the server does.
    pub(super) fn limit(&self) -> Duration {
        match self {
            Connector::Single(..) => CONNECT + RESPONSE,
            // First the nodes that are configured, then those that they name: a node that hangs costs this twice.
            Connector::Cluster(_) => 2 * (CONNECT + RESPONSE),
        }
    }
}

#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// What each master said.
pub(super) struct FromMasters<T> {
    /// By the name of the node; a single Redis has none.
    pub(super) answers: Vec<(Option<String>, T)>,
    /// Whether none is missing because it is away.
    pub(super) all: bool,
}

impl<T> FromMasters<T> {
    pub(super) fn map<U>(self, change: impl Fn(T) -> U) -> FromMasters<U> {
        let answers = self.answers.into_iter().map(|(node, answer)| (node, change(answer)));
        FromMasters { answers: answers.collect(), all: self.all }
    }
}

/// What is asked of Redis.
pub(super) enum Request<'a> {
    Command(&'a Cmd),
    /// In a cluster all of its keys must be of one slot.
    Pipeline(&'a Pipeline),
    /// By its hash, and with its text when Redis does not know it (any more).
    Script(&'a Call<'a>),
}

impl Connection {
    /// Sends a request to the node that has its keys.
    pub(super) async fn send<T: FromRedisValue>(&mut self, request: &Request<'_>) -> RedisResult<T> {
        let mut waits = MOVED.into_iter();
        loop {
            let result = self.send_once(request).await;
            match (&result, waits.next()) {
                (Err(error), Some(wait)) if error.kind() == ErrorKind::Server(ServerErrorKind::Moved) => {
                    tokio::time::sleep(wait).await;
                }
                _ => return result,
            }
        }
    }

    async fn send_once<T: FromRedisValue>(&mut self, request: &Request<'_>) -> RedisResult<T> {
        match request {
            Request::Command(command) => self.command(command).await,
            Request::Pipeline(pipeline) => pipeline.query_async(self).await,
            Request::Script(call) => match self.command(&call.by_hash()).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    self.command(&call.by_text()).await
                }
                result => result,
            },
        }
    }

    async fn command<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match (command.query_async(self).await, self) {
            (Err(error), Connection::Cluster(cluster)) if error.kind() == ErrorKind::Server(ServerErrorKind::Ask) => {
                asking(cluster, command, error).await
            }
            (result, _) => result,
        }
    }

    /// Asks every master that can be reached.
    pub(super) async fn each_master<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<FromMasters<T>> {
        let cluster = match self {
            Connection::Single(connection) => {
                return Ok(FromMasters { answers: vec![(None, command.query_async(connection).await?)], all: true });
            }
            Connection::Cluster(cluster) => cluster,
        };
        // No way to join the answers is named, so they come one by one, each with its node.
        let all_masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let answers = cluster.route_command(command.clone(), all_masters).await?.extract_error()?;
        let answers: HashMap<String, Value> = ::redis::from_redis_value(answers)?;
        let info: String = cmd("CLUSTER").arg("INFO").query_async(cluster).await?;
        let masters = info.lines().find_map(|line| line.strip_prefix("cluster_size:")?.trim().parse().ok());
        let all = masters.is_none_or(|masters: usize| answers.len() >= masters);
        let mut answers = answers
            .into_iter()
            .map(|(node, answer)| Ok((Some(node), ::redis::from_redis_value(answer)?)))
            .collect::<RedisResult<Vec<(Option<String>, T)>>>()?;
        answers.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(FromMasters { answers, all })
    }
}

/// Follows a key to the node that its slot is being moved to. ASKING holds for the next command of a connection, so
/// both go in one piece.
async fn asking<T: FromRedisValue>(cluster: &mut ClusterConnection, command: &Cmd, told: RedisError) -> RedisResult<T> {
    let node = told.redirect_node().and_then(|(node, _)| node.rsplit_once(':'));
    let Some((host, port)) = node.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?))) else {
        return Err(told);
    };
    let mut pipeline = pipe();
    pipeline.cmd("ASKING").add_command(command.clone());
    let answers = cluster.route_pipeline(pipeline, 0, 2, SingleNodeRoutingInfo::ByAddress { host, port }).await?;
    let answer = answers.into_iter().next_back().ok_or(told)?;
    Ok(::redis::from_redis_value(answer.extract_error()?)?)
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Connection::Single(connection) => connection.req_packed_command(cmd),
            Connection::Cluster(cluster) => cluster.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Connection::Single(connection) => connection.req_packed_commands(cmd, offset, count),
            Connection::Cluster(cluster) => cluster.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Connection::Single(connection) => connection.get_db(),
            Connection::Cluster(cluster) => cluster.get_db(),
        }
    }
}
