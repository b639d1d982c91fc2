//! The live tail's stream: `/api/v1/tail` tells what lately came in, and goes on with what comes.

use super::QueryError;
use super::live::{HEARTBEAT, RETRY};
use super::params::Params;
use crate::clock::now_ms;
use crate::http::Body;
use crate::shutdown::Shutdown;
use crate::tail::{Entry, Heard, Hub, Listener, Missed, Outcome, Summary, Told};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde::Serialize;
use serde_json::json;
use std::convert::Infallible;

pub(super) const PARAMETERS: &[&str] = &["site", "outcome", "reason"];

/// What a reader wants to see.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Of this site; the empty name is for what belongs to none.
    site: Option<String>,
    outcome: Option<Outcome>,
    reason: Option<String>,
}

impl Wanted {
    pub(super) fn parse(params: &Params) -> Result<Wanted, QueryError> {
        let outcome = params.get("outcome");
        let named = |name: &str| Outcome::named(name).ok_or_else(|| QueryError::Outcome(name.to_owned()));
        let text = |name| params.get(name).map(str::to_owned);
        Ok(Wanted { site: text("site"), outcome: outcome.map(named).transpose()?, reason: text("reason") })
    }

    fn takes(&self, entry: &Entry) -> bool {
        self.site.as_deref().is_none_or(|site| entry.site.as_deref().unwrap_or_default() == site)
            && self.outcome.is_none_or(|outcome| entry.outcome == outcome)
            && self.reason.as_deref().is_none_or(|reason| entry.reason.as_deref() == Some(reason))
    }
}

/// An entry as a reader gets it.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    #[serde(flatten)]
    entry: &'a Entry,
}

/// One open stream.
struct Reader {
    listener: Listener,
    wanted: Wanted,
    shutdown: Shutdown,
    has_begun: bool,
}

/// The stream, as long as the reader reads and the program runs. A reader that does not read makes nothing wait: it
/// misses some, and is told how many.
pub(super) fn stream(hub: &Hub, wanted: Wanted, shutdown: Shutdown) -> Body {
    let reader = Reader { listener: hub.listen(), wanted, shutdown, has_begun: false };
    let events = stream::unfold(reader, async |mut reader| {
        let bytes = reader.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), reader))
    });
    Body::stream(StreamBody::new(Box::pin(events)))
}

impl Reader {
    async fn next(&mut self) -> Option<Bytes> {
        if self.shutdown.has_begun() {
            return None;
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            return Some(Bytes::from_static(RETRY.as_bytes()));
        }
        tokio::select! {
            () = self.shutdown.begun() => None,
            () = tokio::time::sleep(HEARTBEAT) => Some(Bytes::from_static(b": heartbeat\n\n")),
            told = wanted(&mut self.listener, &self.wanted) => told,
        }
    }
}

/// The next thing that the reader wants to see.
async fn wanted(listener: &mut Listener, wanted: &Wanted) -> Option<Bytes> {
    loop {
        match listener.next().await? {
            Ok(Told::Entry(heard)) if wanted.takes(&heard.entry) => {
                let Heard { id, entry } = &*heard;
                return Some(event("entry", Some(id), &Shown { id, entry }));
            }
            Ok(Told::Entry(_)) => {}
            Ok(Told::Summary(summary)) => {
                let Summary { window_s, sources, counts } =
                    summary.only(wanted.site.as_deref(), wanted.reason.as_deref());
                let counts = json!({"now": now_ms(), "window_s": window_s, "sources": sources, "counts": counts});
                return Some(event("counts", None, &counts));
            }
            Ok(Told::Trouble(error)) => return Some(event("trouble", None, &json!({ "error": &*error }))),
            Err(Missed(missed)) => return Some(event("missed", None, &json!({ "missed": missed }))),
        }
    }
}

fn event(kind: &str, id: Option<&str>, data: &impl Serialize) -> Bytes {
    // It holds texts and numbers only, so this cannot fail. JSON has no line feed in it.
    let data = serde_json::to_string(data).unwrap_or_default();
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    Bytes::from(format!("event: {kind}\n{id}data: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{LocalNotices, Notices};
    use crate::telemetry::Metrics;
    use http_body_util::BodyExt;
    use std::sync::Arc;
    use std::time::Duration;

    const NOTICE: &str = r#"{"source":"a","counts":[{"site":"shop","reason":"field","count":3,"last_minute":1},
        {"reason":"time","count":1,"last_minute":1}],"entries":[
        [1,{"at":1,"outcome":"refused","site":"shop","reason":"field","field":"user_id","error":"no"}],
        [2,{"at":2,"outcome":"accepted","site":"shop"}],
        [3,{"at":3,"outcome":"refused","reason":"time","error":"no"}]]}"#;

    /// What a reader gets of these, until the counts.
    async fn read(query: &str) -> Vec<String> {
        let notices = Arc::new(LocalNotices::default());
        notices.publish(&[NOTICE.to_owned()]).await.unwrap();
        let (metrics, shutdown) = (Arc::new(Metrics::new().unwrap()), Shutdown::new());
        let hub = Arc::new(Hub::new(notices, metrics));
        let wanted = Wanted::parse(&Params::parse(Some(query), PARAMETERS).unwrap()).unwrap();
        let mut body = stream(&hub, wanted, shutdown.clone());
        let running = tokio::spawn({
            let (hub, shutdown) = (hub.clone(), shutdown.clone());
            async move { hub.run(&shutdown).await }
        });
        let mut events = Vec::new();
        while !events.last().is_some_and(|event: &String| event.starts_with("event: counts")) {
            let frame = tokio::time::timeout(Duration::from_secs(20), body.frame()).await.expect("an event in time");
            events.push(String::from_utf8(frame.unwrap().unwrap().into_data().unwrap().to_vec()).unwrap());
        }
        shutdown.begin();
        running.await.unwrap();
        assert!(body.frame().await.is_none(), "the shutdown ends the stream");
        events
    }

    fn ids(events: &[String]) -> Vec<&str> {
        events.iter().filter_map(|event| event.lines().find_map(|line| line.strip_prefix("id: a-"))).collect()
    }

    #[tokio::test]
    async fn a_reader_gets_what_he_wants_to_see() {
        let all = read("").await;
        assert_eq!(all[0], "retry: 1000\n\n");
        assert_eq!(
            all[1],
            "event: entry\nid: a-1\ndata: {\"id\":\"a-1\",\"at\":1,\"outcome\":\"refused\",\"site\":\"shop\",\
             \"reason\":\"field\",\"field\":\"user_id\",\"error\":\"no\"}\n\n"
        );
        assert_eq!(ids(&all), ["1", "2", "3"]);
        assert_eq!(ids(&read("site=shop").await), ["1", "2"]);
        assert_eq!(ids(&read("site=").await), ["3"]);
        assert_eq!(ids(&read("outcome=accepted").await), ["2"]);
        assert_eq!(ids(&read("outcome=refused&reason=time").await), ["3"]);
        let counts = read("site=shop&reason=time").await.pop().unwrap();
        assert!(
            counts.ends_with(",\"sources\":1,\"window_s\":600}\n\n") && counts.contains("\"counts\":[]"),
            "{counts}"
        );
        assert!(
            all.last().unwrap().contains(r#"[{"count":3,"last_minute":1,"reason":"field","site":"shop"},"#),
            "{all:?}"
        );
    }

    #[test]
    fn an_outcome_that_there_is_not_is_refused() {
        let wrong = Wanted::parse(&Params::parse(Some("outcome=rejected"), PARAMETERS).unwrap()).unwrap_err();
        assert_eq!(wrong.to_string(), "`rejected` is not an outcome: it is accepted or refused");
    }
}
