//! The connection: made when it is first needed, shared by all callers, and made anew when it fails.
//!
//! The client's own manager of connections is not used: it keeps a connection whose replies time out, and after a
//! refused login it never tries again. Both would take a restart to put right.

use super::connection::{Connection, Connector, FromMasters, Request};
use super::problem::{is_elsewhere, needs_new_connection, store_error};
use super::script::Call;
use crate::store::{RedisConfig, StoreError};
use ::redis::{Cmd, FromRedisValue, Pipeline, RedisResult};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Callers that queued behind a failed attempt share its answer instead of each waiting through one of their own.
const SHARED_FAILURE: Duration = Duration::from_millis(100);

pub(super) struct Link {
    connector: Connector,
    place: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    generation: u64,
    connection: Option<Connection>,
    failed: Option<(Instant, StoreError)>,
}

impl Link {
    pub(super) fn new(config: &RedisConfig) -> Result<Link, StoreError> {
        let mut place = config.url.to_string();
        if config.is_cluster() {
            place.push_str(" (cluster)");
        }
        let connector = Connector::new(config).map_err(|error| store_error(&place, &error))?;
        Ok(Link { connector, place, state: Mutex::default() })
    }

    /// Where it leads, without the password.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.send(Request::Command(command)).await
    }

    pub(super) async fn pipeline<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, StoreError> {
        self.send(Request::Pipeline(pipeline)).await
    }

    pub(super) async fn script<T: FromRedisValue>(&self, call: &Call<'_>) -> Result<T, StoreError> {
        self.send(Request::Script(call)).await
    }

    async fn send<T: FromRedisValue>(&self, request: Request<'_>) -> Result<T, StoreError> {
        match self.attempt(&request).await {
            // The client overlooks this answer inside a transaction; a new one reads anew where the slots are.
            (_, true) => self.attempt(&request).await.0,
            (result, false) => result,
        }
    }

    /// What came of it, and whether the keys are elsewhere.
    async fn attempt<T: FromRedisValue>(&self, request: &Request<'_>) -> (Result<T, StoreError>, bool) {
        let (generation, mut connection) = match self.connection().await {
            Ok(connection) => connection,
            Err(error) => return (Err(error), false),
        };
        let result = connection.send(request).await;
        let moved = result.as_ref().is_err_and(is_elsewhere);
        (self.settled(generation, result).await, moved)
    }

    /// Asks every master of a cluster, or the one Redis.
    pub(super) async fn each_master<T: FromRedisValue>(&self, command: &Cmd) -> Result<FromMasters<T>, StoreError> {
        let (generation, mut connection) = self.connection().await?;
        let result = connection.each_master(command).await;
        self.settled(generation, result).await
    }

    async fn connection(&self) -> Result<(u64, Connection), StoreError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok((state.generation, connection.clone()));
        }
        if let Some((at, error)) = &state.failed
            && (*at >= asked || at.elapsed() < SHARED_FAILURE)
        {
            return Err(error.clone());
        }
        match self.connect().await {
            Ok(connection) => {
                state.generation += 1;
                state.connection = Some(connection.clone());
                state.failed = None;
                Ok((state.generation, connection))
            }
            Err(error) => {
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Connection, StoreError> {
        let connecting = self.connector.connect();
        // The client's own limit is for the socket; a server that accepts and says nothing must not hold us either.
        match tokio::time::timeout(self.connector.limit(), connecting).await {
            Ok(result) => result.map_err(|error| unavailable(store_error(&self.place, &error))),
            Err(_) => Err(StoreError::Unavailable {
                place: self.place.clone(),
                problem: "it accepts connections but does not answer".to_owned(),
            }),
        }
    }

    async fn settled<T>(&self, generation: u64, result: RedisResult<T>) -> Result<T, StoreError> {
        let Err(error) = result else { return result.map_err(|error| store_error(&self.place, &error)) };
        if needs_new_connection(&error) {
            let mut state = self.state.lock().await;
            if state.generation == generation {
                state.connection = None;
            }
        }
        Err(store_error(&self.place, &error))
    }
}

/// While connecting nothing of ours was read yet: an answer that makes no sense is the server's, and may pass.
fn unavailable(error: StoreError) -> StoreError {
    match error {
        StoreError::Corrupt { place, problem } => StoreError::Unavailable { place, problem },
        other => other,
    }
}
