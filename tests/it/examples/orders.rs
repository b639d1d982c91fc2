use std::collections::{BTreeMap, BTreeSet};

use super::{Example, SOON};
use crate::support::{eventually, unique};

const CUSTOMERS: usize = 8;
const EACH: usize = 60;

/// Customer and number of each order that was billed, in their order.
fn billed(member: &Example) -> Vec<(String, usize)> {
    let order = |line: &String| {
        let (customer, rest) = line.split_once("'s order ").expect("whose order");
        let number = rest.split(':').next().expect("a number").parse().expect("a number");
        (customer.to_owned(), number)
    };
    member.after("billed ").iter().map(order).collect()
}

fn assert_in_order(member: &Example) {
    let mut last = BTreeMap::new();
    for (customer, number) in billed(member) {
        let before = last.insert(customer.clone(), number).unwrap_or(0);
        assert!(before < number, "{customer}'s order {number} was billed after order {before}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_is_billed_in_the_customers_order_over_a_kill() {
    let topic = unique("orders");
    let placed = Example::run("orders", &topic, &["place", "--each", &EACH.to_string()]).await;
    assert_eq!(placed.iter().filter(|line| line.starts_with("placed ")).count(), CUSTOMERS * EACH);

    let first = Example::start("orders", &topic, &["bill", "--takes", "60ms"]).await;
    first.until("billed ", CUSTOMERS * EACH / 4).await;
    first.kill();
    assert!(billed(&first).len() < CUSTOMERS * EACH, "it was too fast to be killed in the middle");

    let second = Example::start("orders", &topic, &["bill", "--takes", "1ms"]).await;
    eventually(SOON, "every order is billed", async || {
        let both: BTreeSet<_> = billed(&first).into_iter().chain(billed(&second)).collect();
        if both.len() == CUSTOMERS * EACH { Ok(()) } else { Err(format!("{} orders", both.len())) }
    })
    .await;
    second.interrupt().await;
    assert_in_order(&first);
    assert_in_order(&second);
}
