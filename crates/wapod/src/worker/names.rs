//! Host names of apps: a label below the base domain, or their address.
//!
//! A label belongs to the app that had it first and is free again when the app
//! goes. The base32 form of an address always works. Which labels there are is in
//! the table of `edge`. Called by `lifecycle`, `deploy` and the gateway.

use std::sync::Arc;

use wapo_rpc::{AppAddress, HostName};
use wapo_sni::ServerName;

use super::Worker;
use super::app::App;
use super::deploy::Name;
use crate::error::AppError;

impl Worker {
    /// The app with a host name label, or with the address that it spells.
    pub(crate) fn app_by_label(&self, label: &str) -> Option<Arc<App>> {
        let label = label.to_ascii_lowercase();
        let by_name = self.edge.labelled(&label);
        by_name.or_else(|| self.app(&AppAddress::from_base32(&label)?))
    }

    /// The app whose host name this is: a label below the base domain, or a domain.
    pub(crate) fn app_by_host(&self, name: &ServerName, base_domain: &str) -> Option<Arc<App>> {
        let below = name.as_str().strip_suffix(base_domain);
        let label = below.and_then(|rest| rest.strip_suffix('.'));
        let labelled = label.and_then(|label| self.app_by_label(label));
        labelled.or_else(|| self.edge.bound(name))
    }

    /// The app that a domain is bound to.
    pub(crate) fn app_by_domain(&self, host: &str) -> Option<Arc<App>> {
        // On most workers there are none, and reading the host takes longer than a look.
        if !self.edge.has_names() {
            return None;
        }
        self.edge.bound(&host.parse().ok()?)
    }

    /// Settles which label a new app gets; empty for none. An app may take the
    /// label of the one that it replaces.
    pub(super) fn choose_name(
        &self,
        wanted: &Name,
        replaced: Option<&App>,
    ) -> Result<String, AppError> {
        let (text, must_have) = match wanted {
            Name::None => return Ok(replaced.map(App::name).unwrap_or_default()),
            Name::Exactly(text) => (text, true),
            Name::IfFree(text) => (text, false),
        };
        let valid = text.parse::<HostName>();
        let label = match valid {
            Ok(label) => label.to_string(),
            Err(error) if must_have => return Err(AppError::BadName(error.to_string())),
            Err(_) => return Ok(String::new()),
        };
        match self.edge.labelled(&label) {
            Some(owner) if replaced.is_none_or(|app| app.serial != owner.serial) => {
                if must_have {
                    Err(AppError::NameTaken(label))
                } else {
                    Ok(String::new())
                }
            }
            _ => Ok(label),
        }
    }

    /// Enters an app under its label, unless another one was faster.
    pub(super) fn claim_name(&self, app: &Arc<App>) {
        let mut state = app.state();
        if !state.name.is_empty() && !self.edge.take_label(app, &state.name) {
            state.name.clear();
        }
    }

    /// Gives an app the label of the one whose place it takes, if that is its own.
    pub(super) fn inherit_name(&self, from: &App, to: &Arc<App>) {
        self.edge.inherit_label(from, to, &to.name());
    }

    /// Makes the label of an app free again, unless the app has it that is about to take
    /// its place.
    pub(super) fn release_name(&self, app: &App) {
        let name = app.name();
        if let Some(next) = self.edge.successor(app)
            && next.name() == name
        {
            self.edge.inherit_label(app, &next, &name);
        }
        self.edge.release_label(app, &name);
    }
}
