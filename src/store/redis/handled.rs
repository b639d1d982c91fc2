//! Notes of handled events in Redis.

use super::fitness::Fitness;
use super::link::Link;
use super::names::Names;
use super::script::Script;
use crate::store::handled::{Effects, HandledEvents, Kind, Noted};
use crate::store::{RedisConfig, StoreError};
use ::redis::{Arg, Cmd, FromRedisValue, ParsingError, Value, cmd, from_redis_value};
use async_trait::async_trait;
use std::time::Duration;

/// Notes of handled events in Redis, beside whatever else is in it.
pub struct RedisHandled {
    link: Link,
    names: Names,
    horizon: Duration,
    note: Script,
    fitness: Fitness,
}

/// What the script answers.
enum Answer {
    Noted(Noted),
    Refused { command: i64, problem: String },
}

impl FromRedisValue for Answer {
    fn from_redis_value(value: Value) -> Result<Answer, ParsingError> {
        match value {
            Value::Int(0) => Ok(Answer::Noted(Noted::Before)),
            Value::Int(-1) => Ok(Answer::Noted(Noted::Partly)),
            Value::Int(_) => Ok(Answer::Noted(Noted::Now)),
            other => from_redis_value(other).map(|(command, problem)| Answer::Refused { command, problem }),
        }
    }
}

impl RedisHandled {
    /// Keeps notes for `horizon`. It connects when it is first used, and again whenever the connection fails.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(config: &RedisConfig, horizon: Duration) -> Result<RedisHandled, StoreError> {
        config.validate()?;
        let note = Script::new(include_str!("handled.lua"));
        let (link, names) = (Link::new(config)?, Names::new(&config.prefix));
        Ok(RedisHandled { link, names, horizon, note, fitness: Fitness::default() })
    }
}

#[async_trait]
impl HandledEvents for RedisHandled {
    async fn look(&self, group: &str, event_id: &str) -> Result<Option<Noted>, StoreError> {
        self.fitness.check(&self.link).await?;
        let note: Option<String> = self.link.command(cmd("GET").arg(self.names.handled(group, event_id))).await?;
        Ok(note.map(|note| if note == "partly" { Noted::Partly } else { Noted::Before }))
    }

    async fn note(&self, group: &str, event_id: &str, effects: Effects) -> Result<Noted, StoreError> {
        let refused = |problem: String, is_partly| {
            let place = self.link.place().to_owned();
            StoreError::Effects { place, problem, is_partly }
        };
        let commands = match effects.0 {
            Kind::None => Vec::new(),
            Kind::Redis(commands) => commands,
            Kind::Sql(_) => return Err(refused("they are SQL: return Effects::redis".to_owned(), false)),
        };
        let mut call = self.note.call();
        call.key(self.names.handled(group, event_id)).arg(self.horizon.as_millis().to_string());
        for command in &commands {
            let parts = parts(command);
            call.arg(parts.len());
            parts.iter().for_each(|part| _ = call.arg(*part));
        }
        match self.link.script(&call).await? {
            Answer::Noted(noted) => Ok(noted),
            Answer::Refused { command, problem } => Err(refused(format!("command {command}: {problem}"), command > 1)),
        }
    }
}

fn parts(command: &Cmd) -> Vec<&[u8]> {
    let simple = |arg| match arg {
        Arg::Simple(part) => Some(part),
        // Cursors belong to iterators, which a script does not run.
        _ => None,
    };
    command.args_iter().filter_map(simple).collect()
}
