//! What an operator changes of an app while it runs: its quotas, and its weight.
//!
//! A change holds at once and is confirmed when it is in the store; one that cannot
//! be written is taken back. It is part of the app's record, so that it lasts, and
//! what replaces the app has it, too. Called by `api/operation`.

use std::num::NonZeroU32;
use std::sync::Arc;

use wapo_host::{GasQuota, QuotaKind};
use wapo_rpc::AppAddress;

use super::Worker;
use super::app::App;
use super::lifecycle::{already_deployed, in_background};
use crate::error::AppError;
use crate::quotas::{self, Asked};
use crate::store::Settings;

impl App {
    /// Its quota of gas, if it is used up.
    pub(super) fn gas_used_up(&self) -> Option<GasQuota> {
        self.quotas.live.gas_used_up(self.ledger.meter())
    }

    /// What the operator decided, with the quotas and the weight as they are now.
    pub(crate) fn settings_now(&self) -> Settings {
        Settings {
            quotas: quotas::entries_of(&self.quotas.own()),
            weight: match self.weight.get() {
                // Nothing said is one slice.
                weight if weight == self.settings.weight().get() => self.settings.weight,
                weight => weight,
            },
            ..self.settings.clone()
        }
    }
}

impl Worker {
    /// Changes quotas of an app, and its weight if there is another one. An app that had used up its gas starts again if it
    /// has some now.
    ///
    /// # Errors
    ///
    /// [`AppError`]; nothing has changed then. [`AppError::Changing`] while the app
    /// is being deployed.
    ///
    /// # Cancel safety
    ///
    /// As [`deploy`](Self::deploy).
    pub(crate) async fn change_quotas(
        self: &Arc<Self>,
        address: AppAddress,
        changes: Vec<(QuotaKind, Asked)>,
        weight: Option<NonZeroU32>,
    ) -> Result<Arc<App>, AppError> {
        let app = self.app(&address).ok_or(AppError::NotFound(address))?;
        already_deployed(&app)?;
        let worker = Arc::clone(self);
        in_background(async move {
            worker.change_quotas_to_end(&app, &changes, weight).await?;
            Ok(app)
        })
        .await
    }

    async fn change_quotas_to_end(
        self: &Arc<Self>,
        app: &Arc<App>,
        changes: &[(QuotaKind, Asked)],
        weight: Option<NonZeroU32>,
    ) -> Result<(), AppError> {
        // Nothing else is written of the app, and nothing takes its place, until this
        // change is in the store or taken back.
        let one_at_a_time = app.writing.lock().await;
        let had_no_gas = app.gas_used_up().is_some();
        let (before, weight_before) = (app.quotas.own(), app.weight.get());
        app.quotas.change(&self.quotas, &app.settings, changes);
        weight.into_iter().for_each(|weight| app.weight.set(weight));
        let written = self.write_record_under(app, &one_at_a_time, Vec::new());
        if let Err(error) = written.await {
            app.quotas.put(&self.quotas, &app.settings, before);
            let weight = NonZeroU32::new(weight_before);
            weight.into_iter().for_each(|weight| app.weight.set(weight));
            return Err(error);
        }
        drop(one_at_a_time);
        if had_no_gas && app.gas_used_up().is_none() {
            self.start_one_adopted(app).await;
        }
        Ok(())
    }
}
