use super::super::publisher::Publisher;
use super::super::{Desk, Outcome, Refusal, Shape};
use super::*;
use crate::clock::now_ms;
use crate::store::LocalNotices;
use async_trait::async_trait;
use std::sync::atomic::{AtomicBool, Ordering};

const SOON: Duration = Duration::from_secs(20);

/// Notices that can be away.
#[derive(Default)]
struct Flaky {
    notices: LocalNotices,
    is_away: AtomicBool,
}

impl Flaky {
    fn there(&self) -> Result<(), StoreError> {
        let away = || StoreError::Unavailable { place: "it".into(), problem: "away".into() };
        if self.is_away.load(Ordering::Relaxed) { Err(away()) } else { Ok(()) }
    }
}

#[async_trait]
impl Notices for Flaky {
    async fn call(&self, call: &str) -> Result<(), StoreError> {
        self.there()?;
        self.notices.call(call).await
    }

    async fn call_again(&self) -> Result<bool, StoreError> {
        self.there()?;
        self.notices.call_again().await
    }

    async fn called(&self) -> Result<Option<String>, StoreError> {
        self.there()?;
        self.notices.called().await
    }

    async fn publish(&self, notices: &[String]) -> Result<(), StoreError> {
        self.there()?;
        self.notices.publish(notices).await
    }

    async fn read(&self, position: &mut Option<String>) -> Result<Vec<String>, StoreError> {
        self.there()?;
        self.notices.read(position).await
    }
}

struct World {
    desk: Desk,
    notices: Arc<Flaky>,
    metrics: Arc<Metrics>,
    hub: Hub,
}

impl World {
    fn new() -> World {
        let (notices, metrics) = (Arc::new(Flaky::default()), Arc::new(Metrics::new().unwrap()));
        let hub = Hub::new(notices.clone(), metrics.clone());
        World { desk: Desk::new(true), notices, metrics, hub }
    }

    fn publisher(&self) -> Publisher<'_> {
        Publisher::new(&self.desk, &*self.notices, &self.metrics)
    }
}

fn refuse(desk: &Desk, reason: &'static str) {
    let refusal = Refusal { site: Some("shop"), reason, status: None, field: None, error: "no" };
    desk.refused(now_ms(), &[refusal], |_| Some(Shape::default()));
}

async fn next(listener: &mut Listener) -> Told {
    let next = tokio::time::timeout(SOON, listener.next()).await.expect("something to be told");
    next.expect("the hub is there").expect("nothing missed")
}

async fn reason(listener: &mut Listener) -> String {
    match next(listener).await {
        Told::Entry(heard) => heard.entry.reason.clone().unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}

async fn summary(listener: &mut Listener) -> Arc<Summary> {
    loop {
        if let Told::Summary(summary) = next(listener).await {
            return summary;
        }
    }
}

#[tokio::test]
async fn listeners_hear_what_was_before_and_what_comes() {
    let world = World::new();
    let (mut publisher, mut place) = (world.publisher(), Place::default());
    refuse(&world.desk, "field");
    let mut first = world.hub.listen();
    assert_eq!(world.metrics.tail_listeners.get(), 1);
    world.hub.turn(&mut place).await;
    publisher.turn().await;
    world.hub.turn(&mut place).await;
    assert_eq!(summary(&mut first).await.sources, 0, "nobody has answered yet");
    assert_eq!(reason(&mut first).await, "field");
    let told = summary(&mut first).await;
    assert_eq!((told.sources, told.counts[0].count, told.counts[0].site.as_deref()), (1, 1, Some("shop")));
    refuse(&world.desk, "time");
    publisher.turn().await;
    world.hub.turn(&mut place).await;
    let mut second = world.hub.listen();
    assert_eq!((reason(&mut second).await, reason(&mut second).await), ("field".into(), "time".into()));
    assert_eq!(summary(&mut second).await.counts.len(), 2);
    assert_eq!(reason(&mut first).await, "time");
    drop((first, second));
    assert_eq!(world.metrics.tail_listeners.get(), 0);
}

#[tokio::test]
async fn the_counts_of_several_publishers_are_added_up_and_nothing_is_told_twice() {
    let world = World::new();
    let other = Desk::new(true);
    let mut publishers = [world.publisher(), Publisher::new(&other, &*world.notices, &world.metrics)];
    let (mut listener, mut place) = (world.hub.listen(), Place::default());
    refuse(&world.desk, "field");
    refuse(&other, "field");
    world.hub.turn(&mut place).await;
    // Another process begins to listen: everybody says everything again.
    for call in ["a", "b", "c"] {
        world.notices.call(call).await.unwrap();
        for publisher in &mut publishers {
            publisher.turn().await;
        }
        world.hub.turn(&mut place).await;
    }
    assert_eq!(summary(&mut listener).await.sources, 0);
    assert_eq!((reason(&mut listener).await, reason(&mut listener).await), ("field".into(), "field".into()));
    let told = summary(&mut listener).await;
    assert_eq!((told.sources, told.counts.len(), told.counts[0].count), (2, 1, 2));
    assert!(listener.told.is_empty() && listener.first.is_empty());
}

#[tokio::test]
async fn a_listener_that_does_not_listen_misses_some_and_holds_nobody_up() {
    let world = World::new();
    let (mut slow, mut quick, mut place) = (world.hub.listen(), world.hub.listen(), Place::default());
    let notice =
        |number: u64| format!(r#"{{"source":"a","entries":[[{number},{{"at":1,"outcome":"accepted"}}]],"counts":[]}}"#);
    for number in 1..=2_000 {
        world.notices.publish(&[notice(number)]).await.unwrap();
        world.hub.turn(&mut place).await;
        while !quick.told.is_empty() {
            next(&mut quick).await;
        }
    }
    let Some(Err(Missed(missed))) = slow.next().await else { panic!("it missed nothing") };
    assert_eq!(missed, world.metrics.tail_dropped_entries_total.with_label_values(&["slow_reader"]).get());
    assert!(missed > 1_000, "{missed}");
    let Told::Entry(heard) = next(&mut slow).await else { panic!("an entry") };
    assert_eq!((&*heard.id, heard.entry.outcome), (&*format!("a-{missed}"), Outcome::Accepted));
    assert!(world.hub.state().recent.len() <= REMEMBERED);
}

#[tokio::test]
async fn while_nothing_can_be_heard_that_is_said_until_it_can() {
    let world = World::new();
    let (mut publisher, mut listener, mut place) = (world.publisher(), world.hub.listen(), Place::default());
    world.notices.is_away.store(true, Ordering::Relaxed);
    refuse(&world.desk, "field");
    for _ in 0..3 {
        publisher.turn().await;
        world.hub.turn(&mut place).await;
    }
    let Told::Trouble(error) = next(&mut listener).await else { panic!("no trouble") };
    assert_eq!(&*error, "it is not available: away");
    assert!(listener.told.is_empty(), "it is said once");
    assert_eq!(world.metrics.tail_publish_errors_total.get(), 3);
    let mut late = world.hub.listen();
    assert!(matches!(next(&mut late).await, Told::Trouble(_)));
    world.notices.is_away.store(false, Ordering::Relaxed);
    world.hub.turn(&mut place).await;
    assert!(matches!(next(&mut listener).await, Told::Summary(_)), "it is over");
    publisher.turn().await;
    world.hub.turn(&mut place).await;
    assert_eq!(reason(&mut listener).await, "field");
}

#[tokio::test]
async fn what_is_not_understood_is_left_out() {
    let world = World::new();
    let (mut listener, mut place) = (world.hub.listen(), Place::default());
    let texts = ["", "7", r#"{"source":"new","entries":[[1,{"at":1,"outcome":"delayed"}]]}"#, r#"{"source":"bare"}"#];
    world.notices.publish(&texts.map(str::to_owned)).await.unwrap();
    world.hub.turn(&mut place).await;
    assert_eq!(summary(&mut listener).await.sources, 1);
}

/// The real pauses are part of what is tested, so this takes a few seconds.
#[tokio::test]
async fn it_runs_as_long_as_somebody_listens() {
    let world = Arc::new(World::new());
    let shutdown = Shutdown::new();
    refuse(&world.desk, "field");
    let running = tokio::spawn({
        let (world, shutdown) = (world.clone(), shutdown.clone());
        async move { world.hub.run(&shutdown).await }
    });
    assert_eq!(world.notices.called().await.unwrap(), None, "nobody asked");
    let mut listener = world.hub.listen();
    let mut publisher = world.publisher();
    while world.hub.state().recent.is_empty() {
        publisher.turn().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    summary(&mut listener).await;
    assert_eq!(reason(&mut listener).await, "field");
    shutdown.begin();
    tokio::time::timeout(SOON, running).await.unwrap().unwrap();
}
