//! The quotas of one app: its own limits, and what is counted.
//!
//! How they are counted, and what happens at each, is the host's (`wapo_host::quotas`);
//! how they are written is in `quotas`. Owned by `App`.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use wapo_host::quotas::OverQuota;
use wapo_host::{DormantQuotas, GasQuota, QuotaKind, QuotaLimits, QuotaReading, Quotas};

use super::ledger::Ledger;
use crate::quotas::{QuotaChange, UNLIMITED, WorkerQuotas, change, limits_of};
use crate::store::Settings;

/// The quotas of one app.
///
/// Most apps of a large worker have none of their own and count nothing at the moment:
/// what is counted is made when something is counted first.
#[derive(Debug)]
pub(crate) struct AppQuotas {
    worker: Arc<WorkerQuotas>,
    /// The limit of an older setting; 0 for none.
    requests_max: u32,
    state: Mutex<State>,
    live: OnceLock<Arc<Quotas>>,
}

#[derive(Debug)]
struct State {
    /// What an operator has decided for this app.
    own: Option<Box<QuotaLimits>>,
    /// What is counted before the app has quotas.
    dormant: Option<DormantQuotas>,
}

impl State {
    fn own(&self) -> QuotaLimits {
        self.own.as_deref().copied().unwrap_or_default()
    }

    fn set_own(&mut self, limits: QuotaLimits) {
        self.own = (limits != QuotaLimits::default()).then(|| Box::new(limits));
    }
}

impl AppQuotas {
    /// Those of an app that has so many bytes on disk and has used so much gas.
    pub(crate) fn new(
        worker: &Arc<WorkerQuotas>,
        settings: &Settings,
        (storage, gas): (u64, u64),
    ) -> Self {
        let mut state = State {
            own: None,
            dormant: Some(DormantQuotas::new(Arc::clone(&worker.all), storage, gas)),
        };
        state.set_own(limits_of(&settings.quotas));
        Self {
            worker: Arc::clone(worker),
            requests_max: settings.requests_max,
            state: Mutex::new(state),
            live: OnceLock::new(),
        }
    }

    /// What an operator has decided for this app.
    pub(crate) fn own(&self) -> QuotaLimits {
        self.state().own()
    }

    /// Where things are counted.
    pub(crate) fn live(&self) -> &Arc<Quotas> {
        if let Some(live) = self.live.get() {
            return live;
        }
        // Held until they are set: a change meanwhile would miss them.
        let mut state = self.state();
        let limits = self.limits(&state);
        self.live.get_or_init(|| match state.dormant.take() {
            Some(dormant) => Arc::new(dormant.wake(&limits)),
            None => Arc::new(Quotas::new(&limits, Some(Arc::clone(&self.worker.all)), 0)),
        })
    }

    /// How much of something there may be; `None` for no limit.
    pub(crate) fn limit(&self, kind: QuotaKind) -> Option<u64> {
        self.limit_under(&self.state(), kind)
    }

    /// Requests that the app has at the moment.
    pub(crate) fn requests(&self) -> u64 {
        let live = self.live.get();
        live.map_or(0, |live| live.used(QuotaKind::Requests))
    }

    /// Reads a quota. The ledger is that of the app.
    pub(crate) fn read(&self, kind: QuotaKind, ledger: &Ledger) -> QuotaReading {
        let state = match self.dormant() {
            Ok(state) => state,
            Err(live) => return live.read(kind, ledger.meter()),
        };
        let used = match kind {
            QuotaKind::Gas => ledger.totals().gas,
            QuotaKind::Storage => state.dormant.as_ref().map_or(0, DormantQuotas::storage),
            _ => 0,
        };
        QuotaReading {
            limit: self.limit_under(&state, kind),
            used,
            refused: 0,
        }
    }

    /// The quota of gas, if it is used up. The ledger is that of the app.
    pub(crate) fn gas_used_up(&self, ledger: &Ledger) -> Option<GasQuota> {
        let state = match self.dormant() {
            Ok(state) => state,
            Err(live) => return live.gas_used_up(ledger.meter()),
        };
        let limit = self.limit_under(&state, QuotaKind::Gas);
        state.dormant.as_ref()?.gas_used_up(limit)
    }

    /// Checks what a new app has on disk against what all apps together may have.
    ///
    /// # Errors
    ///
    /// [`OverQuota`]; it is counted all the same.
    pub(crate) fn check_storage_of_all(&self) -> Result<(), OverQuota> {
        match self.dormant() {
            Err(live) => live.check_of_all(QuotaKind::Storage),
            Ok(state) => match &state.dormant {
                Some(dormant) => dormant.check_storage_of_all(),
                None => Ok(()),
            },
        }
    }

    /// Changes what is named, at once.
    pub(crate) fn change(&self, changes: &[(QuotaKind, QuotaChange)]) {
        let mut state = self.state();
        let mut own = state.own();
        for (kind, value) in changes {
            change(&mut own, *kind, *value);
        }
        self.put_under(&mut state, own);
    }

    /// Puts others in the place of all: those from before a change that could not be
    /// written, or of the app that this one replaces.
    pub(crate) fn put(&self, own: QuotaLimits) {
        self.put_under(&mut self.state(), own);
    }

    /// What there is before the app has quotas.
    ///
    /// # Errors
    ///
    /// The quotas, if it has them.
    fn dormant(&self) -> Result<MutexGuard<'_, State>, &Arc<Quotas>> {
        if let Some(live) = self.live.get() {
            return Err(live);
        }
        let state = self.state();
        // They are made under the lock.
        match self.live.get() {
            Some(live) => Err(live),
            None => Ok(state),
        }
    }

    fn put_under(&self, state: &mut State, own: QuotaLimits) {
        state.set_own(own);
        if let Some(live) = self.live.get() {
            live.set(&self.limits(state));
        }
    }

    fn limit_under(&self, state: &State, kind: QuotaKind) -> Option<u64> {
        let limit = self.limits(state).get(kind);
        limit.filter(|max| *max < UNLIMITED)
    }

    fn limits(&self, state: &State) -> QuotaLimits {
        self.worker.limits(&state.own(), self.requests_max)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each number in it is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quotas::{QuotaList, entries_of};
    use crate::store::Totals;

    fn list(text: &str) -> QuotaLimits {
        text.parse::<QuotaList>().expect("a list").0
    }

    #[test]
    fn what_an_app_has_of_its_own_stands_before_what_the_worker_gives() {
        let nothing = QuotaLimits::default();
        let worker = Arc::new(WorkerQuotas::new(list("cpu=1,timers=10"), &nothing));
        let mut settings = Settings {
            requests_max: 7,
            quotas: entries_of(&list("cpu=0.25")),
            ..Settings::default()
        };
        for is_live in [false, true] {
            let app = AppQuotas::new(&worker, &settings, (0, 0));
            let ledger = Ledger::new(Totals::default(), 0);
            if is_live {
                app.live();
            }
            let limit = |kind| {
                let limit = app.limit(kind);
                assert_eq!(app.read(kind, &ledger).limit, limit);
                limit
            };
            assert_eq!(limit(QuotaKind::Cpu), Some(250));
            assert_eq!(limit(QuotaKind::Timers), Some(10));
            assert_eq!(limit(QuotaKind::Requests), Some(7));
            assert_eq!(limit(QuotaKind::Handles), None);
            app.change(&[
                (QuotaKind::Cpu, QuotaChange::Default),
                (QuotaKind::Timers, QuotaChange::Limit(UNLIMITED)),
                (QuotaKind::Requests, QuotaChange::Limit(3)),
            ]);
            assert_eq!(limit(QuotaKind::Cpu), Some(1000));
            assert_eq!(limit(QuotaKind::Timers), None);
            assert_eq!(limit(QuotaKind::Requests), Some(3));
            assert_eq!(app.live().limit(QuotaKind::Requests), Some(3));
            settings.quotas = entries_of(&app.own());
            let again = AppQuotas::new(&worker, &settings, (0, 0));
            assert_eq!(again.own(), app.own());
            app.put(nothing);
            assert_eq!(limit(QuotaKind::Timers), Some(10));
            settings.quotas = entries_of(&list("cpu=0.25"));
        }
    }

    #[test]
    fn an_app_that_does_not_run_has_what_it_has_stored_and_used() {
        let limits = list("gas=100");
        let worker = Arc::new(WorkerQuotas::new(limits, &QuotaLimits::default()));
        let before = Totals {
            gas: 99,
            ..Totals::default()
        };
        let ledger = Ledger::new(before, 30);
        let app = AppQuotas::new(&worker, &Settings::default(), (30, 99));
        assert_eq!(app.read(QuotaKind::Storage, &ledger).used, 30);
        assert_eq!(app.read(QuotaKind::Gas, &ledger).used, 99);
        assert_eq!(app.gas_used_up(&ledger), None);
        app.put(list("gas=99"));
        assert_eq!(app.gas_used_up(&ledger), Some(GasQuota::OfApp(99)));
        app.live();
        assert_eq!(app.gas_used_up(&ledger), Some(GasQuota::OfApp(99)));
        assert_eq!(app.read(QuotaKind::Gas, &ledger).used, 99);
        assert_eq!(worker.all.used(QuotaKind::Storage), 30);
        drop(app);
        assert_eq!(worker.all.used(QuotaKind::Storage), 0);
    }
}
