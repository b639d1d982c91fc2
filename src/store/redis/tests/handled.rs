//! Notes of handled events, and effects that succeed, fail, fail half-way, or meet a Redis that takes no writes.

use super::Own;
use crate::store::{Effects, HandledEvents, Noted, RedisConfig, RedisHandled, RedisUrl, StoreError};
use ::redis::{Cmd, cmd};
use std::time::Duration;

fn notes(own: &Own) -> RedisHandled {
    let config = RedisConfig { url: RedisUrl::from(own.server.url()), ..RedisConfig::default() };
    RedisHandled::new(&config, Duration::from_secs(60)).unwrap()
}

fn paid(by: i64) -> Cmd {
    Cmd::incr("paid", by)
}

#[tokio::test]
async fn effects_are_applied_once_with_their_note() {
    let own = Own::new();
    let notes = notes(&own);
    assert_eq!(notes.look("g", "e1").await.unwrap(), None);
    for noted in [Noted::Now, Noted::Before] {
        assert_eq!(notes.note("g", "e1", Effects::redis([paid(1), paid(10)])).await.unwrap(), noted);
    }
    assert_eq!(notes.look("g", "e1").await.unwrap(), Some(Noted::Before));
    assert_eq!(notes.note("other", "e1", ().into()).await.unwrap(), Noted::Now);
    assert_eq!(own.does::<i64>(cmd("GET").arg("paid")).await, 11);
    let lives: i64 = own.does(cmd("PTTL").arg("sg:{g}:handled:e1")).await;
    assert!((1..=60_000).contains(&lives), "{lives}");
}

#[tokio::test]
async fn a_first_command_that_fails_leaves_nothing() {
    let own = Own::new();
    let notes = notes(&own);
    let _: () = own.does(cmd("SET").arg("text").arg("x")).await;
    let refused = notes.note("g", "e1", Effects::redis([Cmd::incr("text", 1), paid(1)])).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Effects { is_partly: false, .. }), "{refused}");
    assert!(refused.to_string().contains("command 1"), "{refused}");
    assert_eq!(notes.look("g", "e1").await.unwrap(), None);
    assert_eq!(notes.note("g", "e1", Effects::redis([paid(1)])).await.unwrap(), Noted::Now);
}

#[tokio::test]
async fn effects_that_fail_half_way_are_never_applied_again() {
    let own = Own::new();
    let notes = notes(&own);
    let _: () = own.does(cmd("SET").arg("text").arg("x")).await;
    let half = || Effects::redis([paid(1), Cmd::incr("text", 1), paid(10)]);
    let refused = notes.note("g", "e1", half()).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Effects { is_partly: true, .. }), "{refused}");
    assert_eq!(notes.look("g", "e1").await.unwrap(), Some(Noted::Partly));
    assert_eq!(notes.note("g", "e1", half()).await.unwrap(), Noted::Partly);
    assert_eq!(own.does::<i64>(cmd("GET").arg("paid")).await, 1);
}

#[tokio::test]
async fn a_redis_that_may_forget_notes_is_not_used() {
    let own = Own::new();
    own.set("maxmemory-policy", "allkeys-lru").await;
    let unfit = notes(&own).look("g", "e1").await.unwrap_err();
    assert!(matches!(&unfit, StoreError::Unfit { .. }) && unfit.is_retryable(), "{unfit}");
    own.set("maxmemory-policy", "noeviction").await;
    assert_eq!(notes(&own).look("g", "e1").await.unwrap(), None);
}

#[tokio::test]
async fn a_redis_without_room_is_not_available_and_refuses_no_effects() {
    let own = Own::new();
    let notes = notes(&own);
    own.set("maxmemory", "1").await;
    let full = notes.note("g", "e1", Effects::redis([paid(1)])).await.unwrap_err();
    assert!(full.is_retryable(), "{full}");
    own.set("maxmemory", "0").await;
    assert_eq!(notes.note("g", "e1", Effects::redis([paid(1)])).await.unwrap(), Noted::Now);
    assert_eq!(own.does::<i64>(cmd("GET").arg("paid")).await, 1);
}
