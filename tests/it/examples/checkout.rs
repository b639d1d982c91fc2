use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Example, SOON};
use crate::support::{self, eventually, unique};

struct Shop {
    example: Example,
    url: String,
}

impl Shop {
    async fn open(topic: &str) -> Shop {
        let example = Example::start("checkout", topic, &["--port", "0"]).await;
        let listening = example.until("checkout: listening on ", 1).await.remove(0);
        let url = format!("{}/checkout", listening.split(';').next().expect("an address"));
        Shop { example, url }
    }

    async fn ask(&self, checkout: &Value) -> (StatusCode, Value) {
        let answer = reqwest::Client::new().post(&self.url).json(checkout).send().await.expect("an answer");
        (answer.status(), answer.json().await.expect("JSON"))
    }

    /// The id of an order that was accepted.
    async fn order(&self, customer: &str, sku: &str) -> String {
        let order = json!({"customer": customer, "items": [{"sku": sku, "quantity": 1}], "total_cents": 995});
        let (status, answer) = self.ask(&order).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        answer["order_id"].as_str().expect("an order's id").to_owned()
    }

    /// The orders that a service has done its part for.
    fn done(&self, beginning: &str) -> BTreeSet<String> {
        let order = |line: String| line.rsplit_once(" order ").expect("which order").1.to_owned();
        self.example.after(beginning).into_iter().map(order).collect()
    }
}

const SERVICES: [&str; 4] = ["inventory: reserved ", "payment: charged ", "e-mail: thanked ", "analytics: "];

#[tokio::test(flavor = "multi_thread")]
async fn each_service_gets_every_order_over_a_kill_and_a_poison_order_holds_nobody_up() {
    let topic = unique("checkout");
    let first = Shop::open(&topic).await;
    let mut orders = BTreeSet::new();
    for n in 0..40 {
        orders.insert(first.order(["ann", "bob", "cem"][n % 3], "teapot").await);
    }
    let poison = first.order("ann", "antigravity").await;
    for _ in 0..20 {
        orders.insert(first.order("ann", "cup").await);
    }
    first.example.until(SERVICES[1], 10).await;
    first.example.kill();

    let second = Shop::open(&topic).await;
    for _ in 0..20 {
        orders.insert(second.order("dana", "sugar").await);
    }
    let with_poison: BTreeSet<_> = orders.iter().chain([&poison]).cloned().collect();
    let expected = [&orders, &with_poison, &with_poison, &with_poison];
    eventually(SOON, "every service has done its part", async || {
        for (service, expected) in SERVICES.iter().zip(expected) {
            let done: BTreeSet<_> = first.done(service).union(&second.done(service)).cloned().collect();
            if done != *expected {
                let missing: Vec<_> = expected.symmetric_difference(&done).collect();
                return Err(format!("{service}: {missing:?}"));
            }
        }
        Ok(())
    })
    .await;
    second.example.interrupt().await;

    let letters = support::kafka().await.read(&format!("{topic}.dlq")).await;
    assert!(!letters.is_empty());
    for letter in letters {
        let event: Value = serde_json::from_slice(letter.value.as_deref().expect("a value")).expect("JSON");
        assert_eq!((event["event_id"].as_str(), letter.key.as_deref()), (Some(&*poison), Some(&b"ann"[..])));
        assert_eq!(letter.header("error"), "it orders something that there is not");
        assert_eq!(letter.header("consumer-group"), format!("{topic}-inventory"));
        assert_eq!((letter.header("attempts"), letter.header("original-topic")), ("1", &*topic));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_that_cannot_be_an_order_is_refused_and_one_that_is_sent_again_stays_one() {
    let topic = unique("checkout");
    let shop = Shop::open(&topic).await;
    let items = json!([{"sku": "cup", "quantity": 2}]);
    for wrong in [
        json!({"customer": "", "items": items, "total_cents": 1}),
        json!({"customer": "x".repeat(300), "items": items, "total_cents": 1}),
        json!({"customer": "ann", "items": items}),
        json!({"customer": "ann", "items": items, "total_cents": 1, "order_id": "7"}),
        json!("nothing"),
    ] {
        let (status, answer) = shop.ask(&wrong).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}: {answer}");
    }
    let order_id = "0199c82c-c000-7000-8000-000000000001";
    let order = json!({"order_id": order_id, "customer": "ann", "items": items, "total_cents": 1});
    for _ in 0..2 {
        assert_eq!(shop.ask(&order).await, (StatusCode::ACCEPTED, json!({"order_id": order_id})));
    }
    let records = support::kafka().await.read(&topic).await;
    let ids: Vec<Value> = records
        .iter()
        .map(|record| serde_json::from_slice::<Value>(record.value.as_deref().unwrap()).unwrap()["event_id"].take())
        .collect();
    assert_eq!(ids, [order_id, order_id]);
    shop.example.interrupt().await;
}
