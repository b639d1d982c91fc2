mod cluster;
mod handled;
mod measured;
mod notices;
mod salts;

use crate::counter::{Counters, Slot};
use crate::store::conformance::{NOW_S, TOPIC, flush, layout, part, segment, specs};
use crate::store::testing::{Bench, RedisBench, Server, url_of};
use crate::store::{CounterStore, Flushed, RedisConfig, RedisStore, RedisUrl, StoreError};
use ::redis::{Cmd, cmd};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn store_at(url: String) -> RedisStore {
    let config = RedisConfig { url: RedisUrl::from(url), ..RedisConfig::default() };
    RedisStore::new(&config, Arc::new(Counters::new(specs()).unwrap())).unwrap()
}

/// A Redis of one test alone, and a store in it.
struct Own {
    server: Server,
    store: RedisStore,
    _folder: tempfile::TempDir,
}

impl Own {
    fn new() -> Own {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&socket_folder(folder.path()));
        let store = store_at(server.url());
        Own { server, store, _folder: folder }
    }

    async fn does<T: ::redis::FromRedisValue>(&self, command: &Cmd) -> T {
        let client = ::redis::Client::open(self.server.url()).unwrap();
        command.query_async(&mut client.get_multiplexed_async_connection().await.unwrap()).await.unwrap()
    }

    async fn set(&self, name: &str, value: &str) {
        let _: () = self.does(cmd("CONFIG").arg("SET").arg(name).arg(value)).await;
    }
}

/// Apart from the folder that the test made, for the server removes its own when it ends.
fn socket_folder(folder: &Path) -> std::path::PathBuf {
    folder.join("redis")
}

fn first() -> crate::store::Flush {
    flush(vec![part(0, None, Some(segment(0, 4, &[("/a", 4)])))])
}

async fn hash(bench: &RedisBench, name: &str) -> BTreeMap<String, String> {
    let name = format!("{}:{name}", bench.config.prefix);
    cmd("HGETALL").arg(name).query_async(&mut bench.connection.clone()).await.unwrap()
}

#[tokio::test]
async fn keys_and_fields_are_what_other_programs_read() {
    let bench = RedisBench::new(2).await;
    let store = bench.store(specs()).await;
    store.prepare(&layout(specs()), 77).await.unwrap();
    let mut range = segment(7, 9, &[("/a", 1), ("/b", 1), ("/c", 1), ("/d", 1)]);
    range.deltas.add(Slot { counter: 1, window: 0, start: NOW_S }, None, 2);
    let mut flush = flush(vec![part(3, None, Some(range))]);
    flush.shard = 1;
    store.flush(&flush).await.unwrap();
    let prefix = &bench.config.prefix;
    let mut names: Vec<String> =
        cmd("KEYS").arg(format!("{prefix}:*")).query_async(&mut bench.connection.clone()).await.unwrap();
    names.sort();
    let expected = ["{0}:layout", "{1}:keys:views:10s:4000003200", "{1}:partition:user.events:3"];
    let expected = expected.into_iter().chain(["{1}:sum:plain:10s:4000003200", "{1}:sum:views:10s:4000003200"]);
    assert_eq!(names, expected.map(|name| format!("{prefix}:{name}")).collect::<Vec<_>>());
    holds(&hash(&bench, "{1}:keys:views:10s:4000003200").await, &[("/a", "1"), ("/b", "1"), ("/c", "1")]);
    holds(&hash(&bench, "{1}:sum:views:10s:4000003200").await, &[("total", "4"), ("other", "1")]);
    holds(&hash(&bench, "{1}:sum:plain:10s:4000003200").await, &[("total", "2"), ("other", "0")]);
    let mut partition = hash(&bench, "{1}:partition:user.events:3").await;
    assert!(partition.remove("fingerprint").unwrap().starts_with("8:4000003200000:"));
    let fields = [("start_offset", "7"), ("next_offset", "9"), ("watermark", "4000003200009"), ("partitions", "4")];
    let ledger = ["duplicate", "filtered", "expired", "dead_lettered", "skipped", "lost"].map(|name| (name, "0"));
    let rest = [("high_watermark", "50"), ("state", "running"), ("reason", ""), ("updated_at", "4000003200000")];
    let rest = [&rest[..], &[("missing", "")]].concat();
    let counted = [("consumed", "2"), ("counted", "2")];
    holds(&partition, &[&fields[..], &ledger, &rest, &counted].concat());
    let layout = hash(&bench, "{0}:layout").await;
    let names: Vec<_> = layout.keys().map(String::as_str).collect();
    let expected = ["counter:plain", "counter:views", "format", "group", "shards", "since:plain", "since:views"];
    assert_eq!(names, [&expected[..], &["topic"]].concat());
    assert_eq!((layout["format"].as_str(), layout["shards"].as_str()), ("1", "2"));
}

fn holds(found: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(found, &expected);
}

#[tokio::test]
async fn what_is_no_hash_or_no_count_is_named_and_nothing_is_written() {
    let mistakes = [
        ("SET", "{0}:keys:views:10s:4000003200", vec!["text"], "is no hash"),
        ("RPUSH", "{0}:sum:views:10s:4000003200", vec!["text"], "is no hash"),
        ("SET", "{0}:partition:user.events:0", vec!["1"], "is no hash"),
        ("HSET", "{0}:partition:user.events:0", vec!["counted", "1.5"], "field counted"),
        ("HSET", "{0}:partition:user.events:0", vec!["watermark", "soon"], "field watermark"),
        ("HSET", "{0}:sum:views:10s:4000003200", vec!["other", "-1"], "field other"),
        ("HSET", "{0}:sum:views:10s:4000003200", vec!["total", "007"], "field total"),
        ("HSET", "{0}:keys:views:10s:4000003200", vec!["/a", "1000000000000000000"], "field of a key"),
        ("HSET", "{0}:keys:views:10s:4000003200", vec!["/a", ""], "field of a key"),
    ];
    for (command, name, values, told) in mistakes {
        let bench = RedisBench::new(1).await;
        let store = bench.store(specs()).await;
        let name = format!("{}:{name}", bench.config.prefix);
        cmd(command).arg(&name).arg(values).exec_async(&mut bench.connection.clone()).await.unwrap();
        let before = bench.snapshot().await;
        let error = store.flush(&first()).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(&name) && error.to_string().contains(told), "{error}");
        assert_eq!(bench.snapshot().await, before);
    }
}

#[tokio::test]
async fn a_script_that_redis_forgot_is_given_again() {
    let own = Own::new();
    own.store.flush(&first()).await.unwrap();
    let _: () = own.does(cmd("SCRIPT").arg("FLUSH")).await;
    assert_eq!(own.store.flush(&first()).await.unwrap(), Flushed::Conflict(vec![(0, Some(4))]));
}

#[tokio::test]
async fn a_redis_that_may_evict_is_refused_with_what_to_do() {
    let own = Own::new();
    own.set("maxmemory-policy", "volatile-ttl").await;
    let error = own.store.ready().await.unwrap_err();
    assert!(matches!(error, StoreError::Unfit { .. }) && error.to_string().contains("CONFIG SET"), "{error}");
    assert!(matches!(own.store.prepare(&layout(specs()), 0).await, Err(StoreError::Unfit { .. })));
    assert!(matches!(own.store.flush(&first()).await, Err(StoreError::Unfit { .. })));
    assert_eq!(own.does::<i64>(&cmd("DBSIZE")).await, 0);
    own.set("maxmemory-policy", "noeviction").await;
    store_at(own.server.url()).ready().await.unwrap();
}

#[tokio::test]
async fn what_redis_cannot_do_now_is_said_and_done_later() {
    let own = Own::new();
    own.store.ready().await.unwrap();
    let refused = async |told: &str| {
        let error = own.store.flush(&first()).await.unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains(told), "{error}");
        assert_eq!(own.does::<i64>(&cmd("DBSIZE")).await, 0);
    };
    own.set("maxmemory", "1").await;
    refused("its memory is full").await;
    own.set("maxmemory", "0").await;
    let _: () = own.does(cmd("REPLICAOF").arg("127.0.0.1").arg("1")).await;
    refused("it is a replica").await;
    let _: () = own.does(cmd("REPLICAOF").arg("NO").arg("ONE")).await;
    assert!(matches!(own.store.flush(&first()).await.unwrap(), Flushed::Applied { cells: 2 }));
}

#[tokio::test]
async fn a_refused_login_is_tried_again() {
    let own = Own::new();
    own.set("requirepass", "hunter2").await;
    let error = own.store.ready().await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("password"), "{error}");
    let with_password = store_at(format!("{}?pass=hunter2", own.server.url()));
    with_password.ready().await.unwrap();
    let wrong = store_at(format!("{}?pass=hunter3", own.server.url()));
    let error = wrong.ready().await.unwrap_err();
    assert!(error.is_retryable() && !error.to_string().contains("hunter"), "{error}");
    with_password.link.command::<()>(cmd("CONFIG").arg("SET").arg("requirepass").arg("hunter3")).await.unwrap();
    eventually(&wrong).await;
}

#[tokio::test]
async fn a_redis_that_comes_late_or_restarts_is_taken_without_a_restart_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let own_folder = socket_folder(folder.path());
    let store = store_at(url_of(&own_folder.join("redis.sock")));
    let error = store.prepare(&layout(specs()), 0).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("nothing listens there"), "{error}");
    let server = Server::start(&own_folder);
    eventually(&store).await;
    store.prepare(&layout(specs()), 0).await.unwrap();
    store.flush(&first()).await.unwrap();
    drop(server);
    assert!(store.flush(&first()).await.unwrap_err().is_retryable());
    let _server = Server::start(&own_folder);
    eventually(&store).await;
    assert_eq!(store.partitions(TOPIC, &[0]).await.unwrap(), [None], "this one kept nothing");
    assert!(matches!(store.flush(&first()).await.unwrap(), Flushed::Applied { .. }));
}

#[tokio::test]
async fn a_flush_whose_reply_was_lost_was_applied_once() {
    let own = Own::new();
    // Redis knows the script from here on: else it would ask for it instead of running it.
    own.store.flush(&flush(vec![part(1, None, None)])).await.unwrap();
    let info: String = own.does(cmd("INFO").arg("server")).await;
    let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    let error = own.store.flush(&first()).await.unwrap_err();
    kill(Pid::from_raw(pid), Signal::SIGCONT).unwrap();
    assert!(error.is_retryable() && error.to_string().contains("in time"), "{error}");
    let again = own.store.flush(&first()).await.unwrap();
    assert_eq!(
        again,
        Flushed::Conflict(vec![(0, Some(4))]),
        "the stored offset is the end of the flush: it was applied"
    );
}

#[tokio::test]
async fn an_emptied_redis_gets_its_layout_again_when_somebody_misses_a_partition() {
    let own = Own::new();
    let laid = async || own.does::<BTreeMap<String, String>>(&cmd("HGETALL").arg("sg:{0}:layout").to_owned()).await;
    let empty = async || own.does::<()>(&cmd("FLUSHALL")).await;
    own.store.prepare(&layout(specs()), 1_000).await.unwrap();
    let first_laid = laid().await;
    own.store.flush(&first()).await.unwrap();

    empty().await;
    let next = flush(vec![part(0, Some(4), Some(segment(4, 5, &[("/a", 1)])))]);
    assert_eq!(own.store.flush(&next).await.unwrap(), Flushed::Conflict(vec![(0, None)]));
    assert_eq!(own.store.partitions(TOPIC, &[0, 1]).await.unwrap(), [None, None]);
    assert_eq!(laid().await, first_laid, "counted from the first record on, as at the first start");

    empty().await;
    assert!(matches!(own.store.flush(&first()).await.unwrap(), Flushed::Applied { .. }));
    assert_eq!(laid().await, first_laid, "a first flush lays it too");
}

#[tokio::test]
async fn an_emptied_redis_that_another_configuration_took_is_refused() {
    let own = Own::new();
    own.store.prepare(&layout(specs()), 1_000).await.unwrap();
    own.store.flush(&first()).await.unwrap();
    let _: () = own.does(&cmd("FLUSHALL")).await;
    let mut other = layout(specs());
    other.topic = "others.events".into();
    store_at(own.server.url()).prepare(&other, 2_000).await.unwrap();
    let refused = [own.store.partitions(TOPIC, &[0]).await.unwrap_err(), own.store.flush(&first()).await.unwrap_err()];
    for error in refused {
        assert!(matches!(error, StoreError::Layout(_)) && !error.is_retryable(), "{error}");
        assert!(error.to_string().contains("count topic `others.events`, not `user.events`"), "{error}");
    }
    assert_eq!(own.does::<i64>(&cmd("DBSIZE")).await, 1, "nothing was counted beside the other's layout");
}

#[tokio::test]
async fn another_number_of_shards_is_refused_with_what_to_do() {
    let own = Own::new();
    own.store.prepare(&layout(specs()), 1_000).await.unwrap();
    let url = RedisUrl::from(own.server.url());
    let config = RedisConfig { url, shards: 3, ..RedisConfig::default() };
    let store = RedisStore::new(&config, Arc::new(Counters::new(specs()).unwrap())).unwrap();
    let error = store.prepare(&layout(specs()), 2_000).await.unwrap_err();
    assert!(matches!(error, StoreError::Layout(_)), "{error}");
    assert!(error.to_string().contains("set store.redis.shards = 1"), "{error}");
}

#[tokio::test]
async fn a_store_that_only_reads_lays_nothing() {
    let own = Own::new();
    assert_eq!(own.store.partitions(TOPIC, &[0]).await.unwrap(), [None]);
    assert_eq!(own.does::<i64>(&cmd("DBSIZE")).await, 0);
}

/// Until it is ready: after a failure the connection is made anew at the next call but one.
async fn eventually(store: &RedisStore) {
    let mut last = None;
    for _ in 0..50 {
        match store.ready().await {
            Ok(()) => return,
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("still not ready: {last:?}");
}

/// TLS has to be told by what to encrypt, at build time: without that, the first connection panics.
#[tokio::test]
async fn who_does_not_speak_tls_where_it_is_wanted_is_away() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rediss://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let error = store_at(url).ready().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
}
