use super::Body;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

#[derive(Serialize)]
struct Error<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

/// An answer in JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        // What the text did not need of its room would wait with it for the client.
        Ok(bytes) => respond(status, "application/json", bytes.into_boxed_slice()),
        Err(e) => {
            tracing::error!(error = %e, "an answer cannot be written as JSON");
            respond(StatusCode::INTERNAL_SERVER_ERROR, "application/json", r#"{"error":"internal error"}"#)
        }
    }
}

/// The answer of a refusal: `{"error":"…","field":"…"}`, `field` being what in the request is to blame.
pub fn error(status: StatusCode, message: &str, field: Option<&str>) -> Response<Body> {
    json(status, &Error { error: message, field })
}

/// An answer in any other content type.
pub fn text(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    respond(status, content_type, text)
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn read(response: Response<Body>) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn an_error_names_the_field_only_where_there_is_one() {
        let response = error(StatusCode::BAD_REQUEST, "no \"time\"", Some("from"));
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(read(response).await, r#"{"error":"no \"time\"","field":"from"}"#);
        assert_eq!(read(error(StatusCode::NOT_FOUND, "no", None)).await, r#"{"error":"no"}"#);
    }
}
