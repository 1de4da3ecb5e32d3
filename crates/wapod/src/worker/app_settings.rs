//! Settings that an operator changes while an app runs: its quotas, its weight, and
//! where it may connect to.
//!
//! A change applies at once and is confirmed when it is in the store; one that cannot
//! be written is undone. It is part of the app's record, so that a restart keeps it.
//! A new version inherits the quotas; weight and rules are those of its own
//! deployment. Called by `api/operation`.

use std::num::NonZeroU32;
use std::sync::Arc;

use wapo_host::{GasQuota, QuotaKind};
use wapo_rpc::AppAddress;

use super::app::App;
use super::lifecycle::{already_deployed, in_background};
use super::{EgressTexts, Worker};
use crate::error::AppError;
use crate::quotas::{self, QuotaChange};
use crate::store::Settings;

/// What is to be different.
#[derive(Debug, Default)]
pub(crate) struct SettingsChange {
    pub(crate) quotas: Vec<(QuotaKind, QuotaChange)>,
    /// `None` leaves it.
    pub(crate) weight: Option<NonZeroU32>,
    /// All rules that hold from then on; `None` leaves them.
    pub(crate) egress: Option<EgressTexts>,
}

impl App {
    /// Its quota of gas, if it is used up.
    pub(super) fn gas_used_up(&self) -> Option<GasQuota> {
        self.quotas.gas_used_up(&self.ledger)
    }

    /// What the operator decided, as it is now.
    pub(crate) fn settings_now(&self) -> Settings {
        let egress = self.egress.texts();
        Settings {
            quotas: quotas::entries_of(&self.quotas.own()),
            weight: match self.weight.get() {
                // Nothing said is one slice.
                weight if weight == self.settings.weight().get() => self.settings.weight,
                weight => weight,
            },
            egress: egress.allow,
            egress_deny: egress.deny,
            egress_only_allowed: egress.only_allowed,
            ..Settings::clone(&self.settings)
        }
    }
}

impl Worker {
    /// Changes quotas, weight and rules of an app. One that had used up its gas starts
    /// again if it has some now.
    ///
    /// # Errors
    ///
    /// [`AppError`]; nothing has changed then. [`AppError::Changing`] while the app
    /// is being deployed.
    ///
    /// # Cancel safety
    ///
    /// As [`deploy`](Self::deploy).
    pub(crate) async fn change_settings(
        self: &Arc<Self>,
        address: AppAddress,
        change: SettingsChange,
    ) -> Result<Arc<App>, AppError> {
        let app = self.app(&address).ok_or(AppError::NotFound(address))?;
        already_deployed(&app)?;
        change.egress.iter().try_for_each(EgressTexts::check)?;
        let worker = Arc::clone(self);
        in_background(async move {
            worker.change_settings_to_end(&app, change).await?;
            Ok(app)
        })
        .await
    }

    async fn change_settings_to_end(
        self: &Arc<Self>,
        app: &Arc<App>,
        change: SettingsChange,
    ) -> Result<(), AppError> {
        // Nothing else is written of the app, and nothing takes its place, until this
        // change is in the store or taken back.
        let _changing = self.changes.when_done(app);
        let one_at_a_time = app.writing.lock().await;
        let had_no_gas = app.gas_used_up().is_some();
        let (quotas, weight) = (app.quotas.own(), app.weight.get());
        let egress = app.egress.texts();
        app.quotas.change(&change.quotas);
        change.weight.into_iter().for_each(|it| app.weight.set(it));
        change.egress.into_iter().for_each(|it| app.egress.put(it));
        let written = self.write_record_under(app, &one_at_a_time, Vec::new());
        if let Err(error) = written.await {
            app.quotas.put(quotas);
            let weight = NonZeroU32::new(weight);
            weight.into_iter().for_each(|it| app.weight.set(it));
            app.egress.put(egress);
            return Err(error);
        }
        drop(one_at_a_time);
        if had_no_gas && app.gas_used_up().is_none() {
            self.start_one_adopted(app).await;
        }
        Ok(())
    }
}
