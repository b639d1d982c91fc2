//! `tail`: what lately came in, one line for each, and how often something was refused: why was my event refused?

mod events;
mod lines;

use super::{remark, secret};
use anyhow::{Context, bail};
use clap::Args;
use events::{Event, Parser};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::AUTHORIZATION;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use lines::Printer;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

/// Between two tables of the counts.
const TABLE: Duration = Duration::from_secs(10);
/// How long the query side may take to begin its answer, and to say anything after that: it says something every 5 s.
const PATIENCE: Duration = Duration::from_secs(20);
/// Before it is asked again after the stream broke off.
const AGAIN: Duration = Duration::from_secs(1);
/// Of an answer that is no stream this much is read.
const MOST_BYTES: usize = 16 * 1024;

/// The arguments of `tail`.
#[derive(Debug, Args)]
pub(super) struct Tail {
    /// Where the query side listens.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The token of the query side. Others on this machine may see it among the arguments: better is --token-file.
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<String>,
    /// A file that holds the token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Only what belongs to this site; "" is for what belongs to none.
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// Only what was refused.
    #[arg(long)]
    refused: bool,
    /// One JSON object on each line: entries as the query side tells them, and the counts every ten seconds.
    #[arg(long)]
    json: bool,
    /// How long, like 10s or 5m; without it, until Ctrl-C.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    lasting: Option<Duration>,
}

/// Whether anything can be done by asking again.
enum Failed {
    /// The connection: maybe it will be there.
    Broken(anyhow::Error),
    /// The answer: it will be the same.
    Refused(anyhow::Error),
}

impl Tail {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let source = Source::new(&self)?;
        let mut printer = Printer::new(self.json);
        let result = tokio::select! {
            result = follow(&source, &mut printer) => result,
            () = over(self.lasting) => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for Ctrl-C"),
        };
        printer.table();
        result.map(|()| ExitCode::SUCCESS)
    }

    fn token(&self) -> anyhow::Result<Option<String>> {
        secret(self.token.as_deref(), self.token_file.as_deref())
    }
}

async fn over(lasting: Option<Duration>) {
    match lasting {
        Some(lasting) => sleep(lasting).await,
        None => std::future::pending().await,
    }
}

/// Prints what comes until nobody reads it, and asks again when the stream breaks off.
async fn follow(source: &Source, printer: &mut Printer) -> anyhow::Result<()> {
    let (mut has_begun, mut is_away) = (false, false);
    loop {
        match source.open().await {
            Ok(stream) => {
                (has_begun, is_away) = (true, false);
                if print(stream, printer).await.is_break() {
                    return Ok(());
                }
                remark("the stream broke off: asking again");
            }
            Err(Failed::Broken(error)) if has_begun => {
                if !std::mem::replace(&mut is_away, true) {
                    remark(&format!("{error:#}: asking again until it does"));
                }
            }
            Err(Failed::Broken(error) | Failed::Refused(error)) => return Err(error),
        }
        sleep(AGAIN).await;
    }
}

/// Prints one stream to its end; breaks when nobody reads what is printed.
async fn print(mut stream: Incoming, printer: &mut Printer) -> std::ops::ControlFlow<()> {
    let mut parser = Parser::default();
    let mut tables = interval_at(Instant::now() + TABLE, TABLE);
    tables.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            _ = tables.tick() => printer.table(),
            frame = timeout(PATIENCE.saturating_sub(heard.elapsed()), stream.frame()) => {
                heard = Instant::now();
                let Ok(Some(Ok(frame))) = frame else { return std::ops::ControlFlow::Continue(()) };
                let bytes = frame.into_data().unwrap_or_default();
                parser.read(&bytes, |event: Event<'_>| printer.event(&event));
            }
        }
        if printer.is_unread() {
            return std::ops::ControlFlow::Break(());
        }
    }
}

/// What is asked for, and where.
struct Source {
    client: Client<HttpConnector, Empty<Bytes>>,
    url: String,
    uri: Uri,
    token: Option<String>,
}

impl Source {
    fn new(tail: &Tail) -> anyhow::Result<Source> {
        let url = tail.url.trim_end_matches('/').to_owned();
        let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let site = tail.site.as_deref().map(|site| format!("site={}", escaped(site)));
        let outcome = tail.refused.then(|| "outcome=refused".to_owned());
        let query: Vec<String> = site.into_iter().chain(outcome).collect();
        let uri = format!("{url}/api/v1/tail?{}", query.join("&")).parse::<Uri>().ok();
        let is_usable = |uri: &Uri| uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty());
        let Some(uri) = uri.filter(is_usable) else {
            bail!(
                "--url {url}: write it like http://127.0.0.1:8080; https is not spoken here, so ask the query side itself"
            );
        };
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Source { client, url, uri, token: tail.token()? })
    }

    async fn open(&self) -> Result<Incoming, Failed> {
        let mut request = Request::get(self.uri.clone());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request =
            request.body(Empty::new()).context("the token cannot stand in a header").map_err(Failed::Refused)?;
        let url = &self.url;
        let answer = timeout(PATIENCE, self.client.request(request)).await;
        let answer = answer.with_context(|| format!("{url} does not answer")).map_err(Failed::Broken)?;
        let answer = answer.with_context(|| format!("nobody answers at {url}")).map_err(Failed::Broken)?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            _ => Err(Failed::Refused(self.refused(answer).await)),
        }
    }

    /// Why there is no stream, and what to do about it.
    async fn refused(&self, answer: Response<Incoming>) -> anyhow::Error {
        let url = &self.url;
        let status = answer.status();
        let told = told(answer).await;
        match status {
            StatusCode::UNAUTHORIZED if self.token.is_none() => {
                anyhow::anyhow!("{url} asks for a token: give the one of query.token by --token-file or --token")
            }
            StatusCode::UNAUTHORIZED => anyhow::anyhow!("{url} does not know this token: it is the one of query.token"),
            StatusCode::NOT_FOUND => {
                anyhow::anyhow!("{url} has no live tail: it is no query side, or one that is older than this command")
            }
            status => anyhow::anyhow!("{url} answered {}: {told}", status.as_u16()),
        }
    }
}

/// The error that an answer tells, on one line.
async fn told(answer: Response<Incoming>) -> String {
    let body = http_body_util::Limited::new(answer.into_body(), MOST_BYTES);
    let bytes = match timeout(PATIENCE, body.collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => Bytes::new(),
    };
    let json = serde_json::from_slice::<serde_json::Value>(&bytes).unwrap_or_default();
    super::text::escaped(json["error"].as_str().map_or(&bytes[..], str::as_bytes))
}
