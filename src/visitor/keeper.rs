use super::Salts;
use crate::clock::now_ms;
use crate::shutdown::Shutdown;
use crate::store::{Day, Salt, SaltStore, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether there is anything to do.
const TURN: Duration = Duration::from_secs(1);
/// How often the store is asked whether it still has what is held here; a store that was emptied gets it back.
const CONFIRM_MS: i64 = 60_000;
/// How long before a day its salt is fetched.
const AHEAD_MS: i64 = 3_600_000;

/// Fetches the salts that are needed, and has those forgotten that are not, until the shutdown begins. No request waits for
/// it.
pub async fn keep(salts: Arc<Salts>, store: Arc<dyn SaltStore>, shutdown: Shutdown) {
    let keeping = async {
        let mut keeper = Keeper::new(&salts, &*store);
        loop {
            keeper.turn(now_ms()).await;
            tokio::time::sleep(TURN).await;
        }
    };
    tokio::select! {
        () = shutdown.begun() => {}
        () = keeping => {}
    }
}

struct Keeper<'a> {
    salts: &'a Salts,
    store: &'a dyn SaltStore,
    /// When the store was asked last.
    asked_ms: Option<i64>,
    /// It was said that there is no salt.
    is_told: bool,
}

impl<'a> Keeper<'a> {
    fn new(salts: &'a Salts, store: &'a dyn SaltStore) -> Keeper<'a> {
        Keeper { salts, store, asked_ms: None, is_told: false }
    }

    async fn turn(&mut self, now_ms: i64) {
        self.salts.wipe(now_ms);
        let is_missing = self.salts.are_wanted() && self.salts.get(Day::of(now_ms)).is_none();
        // A clock that was set back is no reason to wait.
        let is_due = self.asked_ms.is_none_or(|asked_ms| !(asked_ms..asked_ms + CONFIRM_MS).contains(&now_ms));
        if !is_missing && !is_due {
            return;
        }
        self.asked_ms = Some(now_ms);
        let asked = self.ask(now_ms).await;
        let is_missing = self.salts.are_wanted() && self.salts.get(Day::of(now_ms)).is_none();
        match asked {
            Err(error) if is_missing && !self.is_told => {
                tracing::warn!(%error, "no salt for visitor ids: events are taken without context.visitor until there is one");
                self.is_told = true;
            }
            Err(error) => tracing::debug!(%error, "the salts of visitor ids cannot be kept at the moment"),
            Ok(()) if self.is_told => {
                tracing::info!("there is a salt for visitor ids again");
                self.is_told = false;
            }
            Ok(()) => {}
        }
    }

    async fn ask(&self, now_ms: i64) -> Result<(), StoreError> {
        if self.salts.are_wanted() {
            let (today, soon) = (Day::of(now_ms), Day::of(now_ms.saturating_add(AHEAD_MS)));
            self.fetch(today).await?;
            if soon != today {
                self.fetch(soon).await?;
            }
        }
        self.store.forget(now_ms).await
    }

    /// Agrees with the store, and so with all others that share it, on the salt of a day.
    async fn fetch(&self, day: Day) -> Result<(), StoreError> {
        let offered = self.salts.get(day).map_or_else(Salt::random, Ok)?;
        let agreed = self.store.agree(day, &offered).await?;
        self.salts.put(day, agreed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Traits;
    use super::*;
    use async_trait::async_trait;
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    /// A store that may be away, and counts how often it is asked.
    #[derive(Default)]
    struct Shared(Mutex<State>);

    #[derive(Default)]
    struct State {
        kept: BTreeMap<Day, [u8; 16]>,
        is_away: bool,
        asked: u32,
        forgot_ms: Option<i64>,
    }

    impl Shared {
        fn state(&self) -> std::sync::MutexGuard<'_, State> {
            self.0.lock().unwrap()
        }
    }

    fn away() -> StoreError {
        StoreError::Unavailable { place: "it".into(), problem: "gone".into() }
    }

    #[async_trait]
    impl SaltStore for Shared {
        async fn agree(&self, day: Day, offered: &Salt) -> Result<Salt, StoreError> {
            let mut state = self.state();
            state.asked += 1;
            if state.is_away {
                return Err(away());
            }
            Ok(Salt::of(state.kept.entry(day).or_insert(*offered.expose())).unwrap())
        }

        async fn forget(&self, now_ms: i64) -> Result<(), StoreError> {
            let mut state = self.state();
            state.forgot_ms = Some(now_ms);
            if state.is_away { Err(away()) } else { Ok(()) }
        }
    }

    const MIDNIGHT_MS: i64 = 1_760_054_400_000;
    const NOON_MS: i64 = MIDNIGHT_MS - 12 * 3_600_000;

    fn id(salts: &Salts, ms: i64) -> Option<String> {
        salts.id(ms, &Traits { site: "", address: [203, 0, 113, 7].into(), user_agent: b"" })
    }

    #[tokio::test]
    async fn processes_agree_and_tomorrow_is_there_before_midnight() {
        let store = Shared::default();
        let (one, other) = (Salts::new(true), Salts::new(true));
        let (mut first, mut second) = (Keeper::new(&one, &store), Keeper::new(&other, &store));
        first.turn(NOON_MS).await;
        second.turn(NOON_MS).await;
        assert!(id(&one, NOON_MS).is_some() && id(&one, NOON_MS) == id(&other, NOON_MS));
        assert_eq!(id(&one, MIDNIGHT_MS), None);
        first.turn(MIDNIGHT_MS - AHEAD_MS).await;
        second.turn(MIDNIGHT_MS - 1_000).await;
        assert!(id(&one, MIDNIGHT_MS).is_some() && id(&one, MIDNIGHT_MS) == id(&other, MIDNIGHT_MS));
        assert_ne!(id(&one, MIDNIGHT_MS), id(&one, MIDNIGHT_MS - 1));
        store.state().is_away = true;
        first.turn(MIDNIGHT_MS + 120_000).await;
        assert!(id(&one, MIDNIGHT_MS).is_some(), "what is known needs no store");
        assert_eq!(id(&one, MIDNIGHT_MS - 1), None, "yesterday is wiped all the same");
    }

    #[tokio::test]
    async fn while_the_store_is_away_it_is_asked_again_and_then_seldom() {
        let (store, salts) = (Shared::default(), Salts::new(true));
        let mut keeper = Keeper::new(&salts, &store);
        store.state().is_away = true;
        for second in 0..3 {
            keeper.turn(NOON_MS + second * 1_000).await;
            assert!(keeper.is_told);
        }
        assert_eq!((store.state().asked, id(&salts, NOON_MS)), (3, None));
        store.state().is_away = false;
        for second in 3..=63 {
            keeper.turn(NOON_MS + second * 1_000).await;
        }
        assert_eq!((store.state().asked, keeper.is_told), (5, false));
        assert_eq!(store.state().forgot_ms, Some(NOON_MS + 63_000));
        let before = id(&salts, NOON_MS);
        store.state().kept.clear();
        keeper.turn(NOON_MS + 200_000).await;
        assert!(before.is_some() && id(&salts, NOON_MS) == before, "an emptied store gets it back");
        assert_eq!(store.state().kept.len(), 1);
        keeper.turn(NOON_MS - 86_400_000).await;
        assert_eq!(store.state().kept.len(), 2, "a clock that was set back");
    }

    #[tokio::test]
    async fn who_wants_no_ids_has_old_salts_forgotten_and_makes_none() {
        let (store, salts) = (Shared::default(), Salts::new(false));
        Keeper::new(&salts, &store).turn(NOON_MS).await;
        let State { asked, forgot_ms, .. } = *store.state();
        assert_eq!((asked, forgot_ms), (0, Some(NOON_MS)));
        assert_eq!(id(&salts, NOON_MS), None);
    }
}
