//! What a client of a running program can do: post events, ask for counts, look at its health.

use std::time::Duration;

use serde_json::Value;

use super::eventually;

/// Longest wait for anything that should take seconds; the rest is for a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The addresses of a program, and a client for them. A role that the program does not have has no address.
pub(crate) struct Doors {
    http: reqwest::Client,
    ingest: Option<String>,
    query: Option<String>,
    admin: Option<String>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; fails with all of the answer when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?} {}", self.text()))
    }

    /// The body as JSON of an answer that must have this status.
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }
}

impl Doors {
    /// Of `host:port` each.
    pub(crate) fn new(ingest: Option<String>, query: Option<String>, admin: Option<String>) -> Doors {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().expect("a client");
        let url = |address: String| format!("http://{address}");
        Doors { http, ingest: ingest.map(url), query: query.map(url), admin: admin.map(url) }
    }

    pub(crate) fn ingest_url(&self, path: &str) -> String {
        format!("{}{path}", self.ingest.as_ref().expect("it takes events"))
    }

    pub(crate) fn query_url(&self, path: &str) -> String {
        format!("{}{path}", self.query.as_ref().expect("it answers questions"))
    }

    pub(crate) fn admin_url(&self, path: &str) -> String {
        format!("{}{path}", self.admin.as_ref().expect("its health can be asked for"))
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Sends a request; an error when there is no answer.
    pub(crate) async fn try_send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Reply> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Reply { status, headers, body: response.bytes().await?.to_vec() })
    }

    /// Sends a request that must be answered.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        self.try_send(request).await.expect("an answer")
    }

    /// POSTs a body of this content type to `/events`.
    pub(crate) fn events(&self, content_type: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        self.http.post(self.ingest_url("/events")).header("content-type", content_type).body(body)
    }

    /// POSTs events as JSON, all of which must be accepted, and returns the answer.
    pub(crate) async fn post(&self, body: &Value) -> Value {
        let answer = self.send(self.events("application/json", body.to_string())).await.expect(202);
        assert_eq!(answer["rejected"], 0, "{answer}");
        answer
    }

    /// GETs a path of the read side.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(self.http.get(self.query_url(path))).await
    }

    /// GETs a path of the admin side.
    pub(crate) async fn admin(&self, path: &str) -> Reply {
        self.send(self.http.get(self.admin_url(path))).await
    }

    /// The buckets of a counter: `/api/v1/counters/{name}?{query}`.
    pub(crate) async fn counter(&self, name: &str, query: &str) -> Value {
        self.get(&format!("/api/v1/counters/{name}?{query}")).await.expect(200)
    }

    pub(crate) async fn status(&self) -> Value {
        self.get("/api/v1/status").await.expect(200)
    }

    /// Waits until a path of the admin side answers with this status, and returns the answer.
    pub(crate) async fn until_admin(&self, path: &str, status: u16) -> Reply {
        eventually(SOON, &format!("{path} answers {status}"), async || {
            let request = self.http.get(self.admin_url(path));
            let reply = self.try_send(request).await.map_err(|e| format!("{e:?}"))?;
            if reply.status == status { Ok(reply) } else { Err(format!("{}: {}", reply.status, reply.text())) }
        })
        .await
    }

    /// Waits until all roles of the program can do their job.
    pub(crate) async fn until_ready(&self) {
        self.until_admin("/readyz", 200).await;
    }

    /// Waits until this many records are counted, in the store, and fails if there are more.
    pub(crate) async fn until_consumed(&self, records: u64) -> Value {
        self.until_consumed_within(SOON, records).await
    }

    /// The same with a deadline of the caller's.
    pub(crate) async fn until_consumed_within(&self, deadline: Duration, records: u64) -> Value {
        eventually(deadline, &format!("{records} records are counted"), async || {
            let reply = self.try_send(self.http.get(self.query_url("/api/v1/status"))).await;
            let reply = reply.map_err(|e| format!("{e:?}"))?;
            if reply.status != 200 {
                return Err(format!("{}: {}", reply.status, reply.text()));
            }
            let status = reply.json();
            let consumed = consumed(&status);
            assert!(consumed <= records, "{consumed} of {records} records are counted: {status}");
            if consumed == records { Ok(status) } else { Err(format!("{consumed} are: {status}")) }
        })
        .await
    }
}

/// How many records a status says are counted, all partitions together.
pub(crate) fn consumed(status: &Value) -> u64 {
    sum(status, "consumed")
}

/// One outcome of the ledger, all partitions together.
pub(crate) fn sum(status: &Value, outcome: &str) -> u64 {
    let partitions = status["partitions"].as_array().expect("partitions");
    partitions.iter().map(|partition| partition["ledger"][outcome].as_u64().expect("a count")).sum()
}
