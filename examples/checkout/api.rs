//! `POST /checkout`: takes an order, and answers once it is published.

use crate::events::{Item, OrderPlaced};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use streamgauge::envelope::Json;
use streamgauge::http::{self, Body, Handler};
use streamgauge::publish::{Key, Outgoing, PublishError, Publisher};
use uuid::Uuid;

const MOST_BYTES: u64 = 64 << 10;

pub(crate) struct Api {
    pub(crate) publisher: Arc<Publisher<Json>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkout {
    /// A UUID, chosen by a client that wants to be able to ask again; made when missing.
    order_id: Option<String>,
    customer: String,
    items: Vec<Item>,
    total_cents: u64,
}

impl Handler for Api {
    async fn handle(&self, mut request: Request<Incoming>) -> Response<Body> {
        if (request.method(), request.uri().path()) != (&Method::POST, "/checkout") {
            return http::error(StatusCode::NOT_FOUND, "there is POST /checkout, and nothing else", None);
        }
        let body = http::receive(request.body_mut(), MOST_BYTES, Duration::from_secs(10), |_| true).await;
        let checkout = match body {
            Ok(body) => serde_json::from_slice::<Checkout>(&body),
            Err(error) => return http::error(StatusCode::BAD_REQUEST, &error.to_string(), None),
        };
        match checkout {
            Ok(checkout) if checkout.customer.is_empty() => {
                http::error(StatusCode::BAD_REQUEST, "who orders?", Some("customer"))
            }
            Ok(checkout) => self.publish(checkout).await,
            Err(error) => http::error(StatusCode::BAD_REQUEST, &error.to_string(), None),
        }
    }
}

impl Api {
    /// The order's id is the event's: a client that got no answer asks again with the same one, and it stays one order.
    async fn publish(&self, checkout: Checkout) -> Response<Body> {
        let order_id = checkout.order_id.unwrap_or_else(|| Uuid::now_v7().to_string());
        if Uuid::parse_str(&order_id).is_err() {
            return http::error(StatusCode::BAD_REQUEST, "no UUID", Some("order_id"));
        }
        let order = OrderPlaced { items: checkout.items, total_cents: checkout.total_cents };
        let placed = Outgoing::new(order, Key::User(checkout.customer)).with_id(&order_id);
        match self.publisher.publish(placed).await {
            Ok(order_id) => {
                println!("checkout: order {order_id} is published");
                http::json(StatusCode::ACCEPTED, &json!({"order_id": order_id}))
            }
            Err(error @ PublishError::Unacknowledged { .. }) => {
                let body = json!({"error": error.to_string(), "order_id": order_id});
                let mut answer = http::json(StatusCode::SERVICE_UNAVAILABLE, &body);
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
                answer
            }
            Err(error) => http::error(StatusCode::BAD_REQUEST, &error.to_string(), None),
        }
    }
}
