//! What the tests of the stores share: a Redis of their own, and a bench to try either store on.

pub(super) mod cluster;

use super::{CounterStore, EmbeddedStore, RedisConfig, RedisStore, RedisUrl};
use crate::counter::{Counters, Spec};
use crate::embedded::{Config, EmbeddedFile};
use ::redis::aio::MultiplexedConnection;
use ::redis::cmd;
use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{params, params_from_iter};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// A real redis-server, ended with this value or with the test process, whichever is first.
pub(super) struct Server {
    socket: PathBuf,
    /// The guard beside the server waits for the end of this: it comes however this process ends.
    stdin: Option<ChildStdin>,
    guard: Child,
}

impl Server {
    /// Starts one in a folder.
    pub(super) fn start(folder: &Path) -> Server {
        let socket = folder.join("redis.sock");
        let script = r#"redis-server --port 0 --unixsocket redis.sock --save '' --appendonly no &
            cat; kill -9 $!; rm -f redis.sock; rmdir "$PWD""#;
        std::fs::create_dir_all(folder).unwrap();
        let mut guard = Command::new("sh")
            .args(["-c", script])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(guard.stdout.take().unwrap()).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("ready to accept connections"));
        assert!(ready || socket.exists(), "redis-server does not start: run `make test`, which installs it");
        // Whatever it says later is read, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Server { socket, stdin: guard.stdin.take(), guard }
    }

    pub(super) fn url(&self) -> String {
        url_of(&self.socket)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.guard.wait();
    }
}

pub(super) fn url_of(socket: &Path) -> String {
    format!("unix://{}", socket.display())
}

/// The Redis of this test process.
fn shared_server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let folder = tempfile::Builder::new().prefix("streamgauge-redis-").tempdir().unwrap();
        let server = Server::start(folder.path());
        // Nobody drops a static: the guard removes the folder.
        let _ = folder.keep();
        server
    })
}

/// One table or key as it was.
pub(super) type Snapshot = Vec<(String, i64, Vec<Vec<Value>>)>;

/// A place for a store, with what tests do to it behind its back.
#[async_trait]
pub(super) trait Bench: Send + Sync {
    /// A store there that counts these.
    async fn store(&self, specs: Vec<Spec>) -> Box<dyn CounterStore>;
    /// Makes the total of a bucket, which exists, too large to be added to.
    async fn spoil(&self, counter: &str, window: &str, start: i64);
    /// When a bucket expires, in unix seconds.
    async fn expires_at(&self, counter: &str, window: &str, start: i64) -> Option<i64>;
    /// All there is.
    async fn snapshot(&self) -> Snapshot;
    /// Puts back what was there, and nothing else.
    async fn restore(&self, snapshot: &Snapshot);
}

pub(super) struct RedisBench {
    pub(super) config: RedisConfig,
    /// The Redis, or the first master of the cluster.
    pub(super) connection: MultiplexedConnection,
    others: Vec<MultiplexedConnection>,
}

/// A prefix of one bench alone.
fn prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl RedisBench {
    pub(super) async fn new(shards: u32) -> RedisBench {
        let url = shared_server().url();
        let client = ::redis::Client::open(url.as_str()).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        let config = RedisConfig { url: RedisUrl::from(url), prefix: prefix(), shards, ..RedisConfig::default() };
        RedisBench { config, connection, others: Vec::new() }
    }

    pub(super) async fn in_a_cluster(shards: u32) -> RedisBench {
        let cluster = cluster::shared().await;
        let address = |port: &u16| format!("127.0.0.1:{port}");
        let url = RedisUrl::from(format!("redis://{}", address(&cluster.ports[0])));
        let cluster_nodes = cluster.ports[1..].iter().map(address).collect();
        let mut others = cluster.nodes().await;
        let connection = others.remove(0);
        RedisBench { config: RedisConfig { url, cluster_nodes, prefix: prefix(), shards }, connection, others }
    }

    /// All keys, each with a connection to where it is.
    async fn names(&self) -> Vec<(MultiplexedConnection, String)> {
        let pattern = format!("{}:*", self.config.prefix);
        let mut found = Vec::new();
        for node in [&self.connection].into_iter().chain(&self.others) {
            let names: Vec<String> = cmd("KEYS").arg(&pattern).query_async(&mut node.clone()).await.unwrap();
            found.extend(names.into_iter().map(|name| (node.clone(), name)));
        }
        found
    }

    /// The key of a bucket in whichever shard has it.
    async fn bucket(
        &self,
        kind: &str,
        counter: &str,
        window: &str,
        start: i64,
    ) -> Option<(MultiplexedConnection, String)> {
        let end = format!(":{kind}:{counter}:{window}:{start}");
        self.names().await.into_iter().find(|(_, name)| name.ends_with(&end))
    }
}

#[async_trait]
impl Bench for RedisBench {
    async fn store(&self, specs: Vec<Spec>) -> Box<dyn CounterStore> {
        Box::new(RedisStore::new(&self.config, Arc::new(Counters::new(specs).unwrap())).unwrap())
    }

    async fn spoil(&self, counter: &str, window: &str, start: i64) {
        let (mut node, key) = self.bucket("sum", counter, window, start).await.unwrap();
        let command = cmd("HSET").arg(key).arg("total").arg(i64::MAX).to_owned();
        command.exec_async(&mut node).await.unwrap();
    }

    async fn expires_at(&self, counter: &str, window: &str, start: i64) -> Option<i64> {
        let mut times = Vec::new();
        for kind in ["sum", "keys"] {
            if let Some((mut node, key)) = self.bucket(kind, counter, window, start).await {
                times.push(cmd("EXPIRETIME").arg(key).query_async(&mut node).await.unwrap());
            }
        }
        times.dedup();
        assert!(times.len() <= 1, "sum and keys of a bucket expire together: {times:?}");
        times.pop()
    }

    async fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::new();
        for (mut node, name) in self.names().await {
            let mut pipeline = ::redis::pipe();
            pipeline.cmd("PEXPIRETIME").arg(&name).cmd("DUMP").arg(&name);
            let (expires, dump): (i64, Vec<u8>) = pipeline.query_async(&mut node).await.unwrap();
            snapshot.push((name, expires.max(0), vec![vec![Value::Blob(dump)]]));
        }
        snapshot
    }

    async fn restore(&self, snapshot: &Snapshot) {
        assert!(self.others.is_empty(), "keys are put back into one Redis only");
        let names: Vec<String> = self.names().await.into_iter().map(|(_, name)| name).collect();
        let mut pipeline = ::redis::pipe();
        pipeline.cmd("DEL").arg("none").arg(names);
        for (name, expires, rows) in snapshot {
            let [Value::Blob(dump)] = rows[0].as_slice() else { panic!("no dump") };
            pipeline.cmd("RESTORE").arg(name).arg(*expires).arg(dump.as_slice()).arg("ABSTTL");
        }
        pipeline.exec_async(&mut self.connection.clone()).await.unwrap();
    }
}

pub(super) struct EmbeddedBench {
    pub(super) file: Arc<EmbeddedFile>,
    _folder: tempfile::TempDir,
}

const TABLES: [&str; 7] =
    ["store_layout", "store_partition", "store_series", "store_sum", "store_key", "store_amount", "store_distinct"];

impl EmbeddedBench {
    pub(super) fn new() -> EmbeddedBench {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { path: folder.path().join("x.db"), ..Config::default() };
        EmbeddedBench { file: EmbeddedFile::open(&config, false).unwrap(), _folder: folder }
    }
}

#[async_trait]
impl Bench for EmbeddedBench {
    async fn store(&self, specs: Vec<Spec>) -> Box<dyn CounterStore> {
        let counters = Arc::new(Counters::new(specs).unwrap());
        Box::new(EmbeddedStore::open(Arc::clone(&self.file), counters).await.unwrap())
    }

    async fn spoil(&self, counter: &str, window: &str, start: i64) {
        let sql = "UPDATE store_sum SET total = ?4 WHERE start = ?3
             AND series = (SELECT series FROM store_series WHERE counter = ?1 AND window = ?2)";
        let (counter, window) = (counter.to_owned(), window.to_owned());
        self.file.write(move |c| c.execute(sql, params![counter, window, start, i64::MAX])).await.unwrap();
    }

    async fn expires_at(&self, counter: &str, window: &str, start: i64) -> Option<i64> {
        let sql = "SELECT start + lasts FROM store_sum JOIN store_series USING (series)
             WHERE counter = ?1 AND window = ?2 AND start = ?3";
        self.file.reader().unwrap().query_row(sql, params![counter, window, start], |row| row.get(0)).ok()
    }

    async fn snapshot(&self) -> Snapshot {
        let reader = self.file.reader().unwrap();
        let tables = TABLES.iter().map(|table| {
            let mut select = reader.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = select.column_count();
            let rows = select.query_map([], |row| (0..columns).map(|n| row.get(n)).collect()).unwrap();
            ((*table).to_owned(), 0, rows.map(Result::unwrap).collect())
        });
        tables.collect()
    }

    async fn restore(&self, snapshot: &Snapshot) {
        let snapshot = snapshot.clone();
        let put_back = move |c: &rusqlite::Connection| {
            for table in TABLES {
                c.execute(&format!("DELETE FROM {table}"), [])?;
            }
            for (table, _, rows) in &snapshot {
                for row in rows {
                    let places = vec!["?"; row.len()].join(",");
                    let sql = format!("INSERT INTO {table} VALUES ({places})");
                    c.prepare_cached(&sql)?.execute(params_from_iter(row))?;
                }
            }
            Ok(())
        };
        self.file.write(put_back).await.unwrap();
    }
}
