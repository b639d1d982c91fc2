//! Does what a case says over a socket of its own, and compares what comes back.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{interval, timeout};

use super::case::{Answer, Case, End, Step, event, request};
use super::sites;
use crate::support::doors::SOON;

/// Between two bytes of a client that drips: the pace of the client, not a wait for anything.
const DRIP: Duration = Duration::from_millis(20);

/// What came back so far.
#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    ended: bool,
}

/// An answer as it came.
#[derive(Debug)]
struct Reply {
    status: u16,
    text: String,
    body: String,
}

/// Asks, and reads one whole answer: its status.
pub(super) async fn ask(stream: &mut TcpStream, request: &[u8]) -> std::io::Result<u16> {
    stream.write_all(request).await?;
    let mut bytes = Vec::new();
    loop {
        if let [reply] = &replies(&bytes)[..] {
            return Ok(reply.status);
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Runs a case. `probe` is the id of the event that shows that the connection goes on.
pub(super) async fn run(case: &Case, address: &str, probe: &str) -> Result<(), String> {
    let stream = TcpStream::connect(address).await.map_err(|e| format!("no connection: {e}"))?;
    let (reading, mut writing) = stream.into_split();
    let (said, mut heard) = watch::channel(Heard::default());
    let reader = tokio::spawn(listen(reading, said));
    let result = converse(case, &mut writing, &mut heard, probe).await;
    reader.abort();
    result.map_err(|wrong| {
        let heard = heard.borrow();
        let came: String = String::from_utf8_lossy(&heard.bytes).chars().take(1_000).collect();
        format!("{}: {wrong}; it came{}: {came:?}", case.name, if heard.ended { ", and ended" } else { "" })
    })
}

async fn listen(mut reading: OwnedReadHalf, said: watch::Sender<Heard>) {
    let mut piece = vec![0; 16 * 1024];
    // A connection that is reset has ended as well.
    while let Ok(read @ 1..) = reading.read(&mut piece).await {
        said.send_modify(|heard| heard.bytes.extend_from_slice(&piece[..read]));
    }
    said.send_modify(|heard| heard.ended = true);
}

async fn converse(
    case: &Case,
    writing: &mut OwnedWriteHalf,
    heard: &mut watch::Receiver<Heard>,
    probe: &str,
) -> Result<(), String> {
    for step in &case.steps {
        match step {
            // Whoever is cut off while sending looks at what was answered before.
            Step::Send(bytes) => drop(timeout(SOON, writing.write_all(bytes)).await.map_err(|_| "it stops reading")?),
            Step::Drip(bytes) => drip(bytes, writing, heard).await?,
            Step::Await(answers) => until(heard, *answers).await?,
            Step::HalfClose => drop(writing.shutdown().await),
        }
    }
    until(heard, case.answers.len()).await?;
    if case.end == End::GoesOn {
        // The server closes after this one, so whatever else it says is heard.
        let good = request(&format!("connection: close\r\n{}", sites::KEY), event(probe));
        drop(timeout(SOON, writing.write_all(&good)).await.map_err(|_| "it stops reading")?);
    }
    let ended = timeout(SOON, heard.wait_for(|heard| heard.ended)).await;
    let replies = replies(&ended.map_err(|_| "it is not closed")?.map_err(|e| e.to_string())?.bytes);
    compare(case, &replies, probe)
}

/// Waits until there are so many answers, or the end.
async fn until(heard: &mut watch::Receiver<Heard>, answers: usize) -> Result<(), String> {
    let enough = heard.wait_for(|heard| heard.ended || replies(&heard.bytes).len() >= answers);
    timeout(SOON, enough).await.map_err(|_| format!("no {answers} answers"))?.map_err(|e| e.to_string())?;
    Ok(())
}

async fn drip(bytes: &[u8], writing: &mut OwnedWriteHalf, heard: &watch::Receiver<Heard>) -> Result<(), String> {
    let mut pace = interval(DRIP);
    let before = heard.borrow().bytes.len();
    let dripping = async {
        for byte in bytes.iter().cycle() {
            pace.tick().await;
            let is_told = { heard.borrow().ended || heard.borrow().bytes.len() > before };
            if is_told || writing.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    };
    timeout(SOON, dripping).await.map_err(|_| "it listens to drops for ever".to_owned())
}

fn compare(case: &Case, replies: &[Reply], probe: &str) -> Result<(), String> {
    let mut rest = replies.iter();
    for (at, expected) in case.answers.iter().enumerate() {
        let reply = rest.next().ok_or(format!("no answer {at}, which is to be {}", expected.status))?;
        expected.compare(reply).map_err(|wrong| format!("answer {at} {wrong}"))?;
    }
    match (case.end, rest.next()) {
        (End::GoesOn, Some(last)) if last.status == 202 && last.text.contains(&format!("\"{probe}\"")) => {}
        (End::GoesOn, last) => return Err(format!("the good request behind it is answered {last:?}")),
        (End::Broken, Some(last)) if last.status == 400 && last.is_of_what_broke_off() => {}
        (End::Closes | End::Broken, None) => {}
        // It may have been faster than the client's end.
        (End::Broken, Some(last)) if last.status == 202 && case.unknown.is_some_and(|id| last.text.contains(id)) => {}
        (End::Closes | End::Broken, more) => return Err(format!("it is answered once more: {more:?}")),
    }
    rest.next().map_or(Ok(()), |more| Err(format!("it is answered once more: {more:?}")))
}

impl Reply {
    /// hyper itself answers nothing; ingest says what became of the body.
    fn is_of_what_broke_off(&self) -> bool {
        self.body.is_empty() || self.body.contains("the body broke off")
    }
}

impl Answer {
    fn compare(&self, reply: &Reply) -> Result<(), String> {
        if reply.status != self.status {
            return Err(format!("is {}, not {}", reply.status, self.status));
        }
        if let Some(missing) = self.with.iter().find(|text| !reply.text.contains(*text)) {
            return Err(format!("does not have {missing:?}"));
        }
        if let Some(found) = self.without.iter().find(|text| reply.text.contains(*text)) {
            return Err(format!("has {found:?}"));
        }
        if self.status < 300 || reply.body.is_empty() {
            return Ok(());
        }
        // A refusal says why, and does not repeat at length what was sent.
        let body: serde_json::Value = serde_json::from_str(&reply.body).map_err(|e| format!("is no JSON: {e}"))?;
        let error = body["error"].as_str().ok_or("has no error")?;
        if (10..500).contains(&error.len()) { Ok(()) } else { Err(format!("has an error of {} bytes", error.len())) }
    }
}

/// The answers that are complete, and the head of one whose body is missing.
fn replies(bytes: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    let mut rest = bytes;
    while let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        let Some(body) = rest.get(end + 4..end + 4 + length) else { break };
        let body = String::from_utf8_lossy(body).into_owned();
        let status = head.strip_prefix("HTTP/1.").and_then(|line| line.get(2..5)?.parse().ok()).unwrap_or(0);
        replies.push(Reply { status, text: format!("{head}\n{body}"), body });
        rest = &rest[end + 4 + length..];
    }
    replies
}
