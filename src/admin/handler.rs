use crate::http::{self, Body, Handler};
use crate::telemetry::{Metrics, Readiness, Role};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

const METRICS_TEXT: &str = "text/plain; version=0.0.4";
const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// Tells how the process is: the admin side's [`Handler`].
#[derive(Debug)]
pub struct Admin {
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    reasons: BTreeMap<&'static str, String>,
}

impl Admin {
    /// Over what the roles of this process write.
    pub fn new(metrics: Arc<Metrics>, readiness: Arc<Readiness>) -> Admin {
        Admin { metrics, readiness }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Body> {
        let mut response = self.find(path);
        if response.status() != StatusCode::NOT_FOUND && !matches!(*method, Method::GET | Method::HEAD) {
            response = http::error(StatusCode::METHOD_NOT_ALLOWED, "this can only be read: use GET", None);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn find(&self, path: &str) -> Response<Body> {
        match path {
            "/metrics" => self.metrics(),
            "/healthz" => http::text(StatusCode::OK, PLAIN_TEXT, "ok"),
            "/readyz" => ready(self.readiness.reasons()),
            "/readyz/ingest" => self.role(Role::Ingest),
            "/readyz/process" => self.role(Role::Process),
            "/readyz/query" => self.role(Role::Query),
            _ => {
                let message = format!(
                    "nothing is served at `{path}`: try /metrics, /healthz, /readyz, /readyz/ingest, /readyz/process or \
                     /readyz/query"
                );
                http::error(StatusCode::NOT_FOUND, &message, None)
            }
        }
    }

    fn metrics(&self) -> Response<Body> {
        for (role, ready) in self.readiness.all() {
            self.metrics.ready.with_label_values(&[role.name()]).set(i64::from(ready));
        }
        match self.metrics.render() {
            Ok(text) => http::text(StatusCode::OK, METRICS_TEXT, text),
            Err(e) => {
                tracing::error!(error = %e, "the metrics cannot be rendered");
                http::error(StatusCode::INTERNAL_SERVER_ERROR, &e.to_string(), None)
            }
        }
    }

    fn role(&self, role: Role) -> Response<Body> {
        ready(self.readiness.reason(role).map(|reason| (role, reason)).into_iter().collect())
    }
}

fn ready(reasons: Vec<(Role, String)>) -> Response<Body> {
    let reasons: BTreeMap<_, _> = reasons.into_iter().map(|(role, reason)| (role.name(), reason)).collect();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    http::json(status, &Ready { ready, reasons })
}

impl Handler for Admin {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        self.answer(request.method(), request.uri().path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn admin(roles: &[Role]) -> Admin {
        Admin::new(Arc::new(Metrics::new().unwrap()), Arc::new(Readiness::new(roles)))
    }

    async fn get(admin: &Admin, path: &str) -> (u16, String) {
        let response = admin.answer(&Method::GET, path);
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_names_the_role_and_its_reason() {
        let admin = admin(&[Role::Process, Role::Query]);
        admin.readiness.ready(Role::Query);
        admin.readiness.not_ready(Role::Process, "kafka is away");
        let away = r#"{"ready":false,"reasons":{"process":"kafka is away"}}"#;
        assert_eq!(get(&admin, "/readyz").await, (503, away.into()));
        assert_eq!(get(&admin, "/readyz/process").await, (503, away.into()));
        assert_eq!(get(&admin, "/readyz/query").await, (200, r#"{"ready":true,"reasons":{}}"#.into()));
        let absent = r#"{"ready":false,"reasons":{"ingest":"this process does not ingest"}}"#;
        assert_eq!(get(&admin, "/readyz/ingest").await, (503, absent.into()));
        assert_eq!(get(&admin, "/healthz").await, (200, "ok".into()));
        admin.readiness.ready(Role::Process);
        assert_eq!(get(&admin, "/readyz").await.0, 200);
    }

    #[tokio::test]
    async fn metrics_are_in_the_format_of_prometheus() {
        let admin = admin(&[]);
        let response = admin.answer(&Method::GET, "/metrics");
        assert_eq!(response.headers()["content-type"], METRICS_TEXT);
        assert!(get(&admin, "/metrics").await.1.contains("\nstreamgauge_unaccounted_events 0\n"));
    }

    #[tokio::test]
    async fn what_is_not_there_or_cannot_be_done_is_refused() {
        let admin = admin(&[]);
        let (status, body) = get(&admin, "/ready").await;
        assert!(status == 404 && body.contains("/readyz/ingest"), "{body}");
        let response = admin.answer(&Method::POST, "/metrics");
        assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"GET, HEAD".parse().unwrap()));
    }
}
