//! The egress rules of an app as they are at the moment.
//!
//! They are texts, as operators write them and the store keeps them; the policy is
//! made from them when the first instance starts, and changes with them. Owned by
//! `App`, changed by `app_settings`; checks no connection itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wapo_host::net::policy::{AppEgress, EgressDefault, EgressRule, EgressRules};

use crate::error::AppError;
use crate::limits::APP_EGRESS_RULES_MAX;
use crate::store::Settings;

/// An app's rules as they are written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct EgressTexts {
    pub(crate) allow: Vec<String>,
    pub(crate) deny: Vec<String>,
    /// Whether only what rules allow may be connected to.
    pub(crate) only_allowed: bool,
}

impl EgressTexts {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            allow: settings.egress.clone(),
            deny: settings.egress_deny.clone(),
            only_allowed: settings.egress_only_allowed,
        }
    }

    /// Whether all are rules, and not too many.
    ///
    /// # Errors
    ///
    /// [`AppError::BadRule`] with the first that is none.
    pub(crate) fn check(&self) -> Result<(), AppError> {
        let count = self.allow.len() + self.deny.len();
        if count > APP_EGRESS_RULES_MAX {
            return Err(AppError::BadRule(format!(
                "{count} egress rules are more than {APP_EGRESS_RULES_MAX}: put addresses together to networks"
            )));
        }
        for rule in self.allow.iter().chain(&self.deny) {
            if let Err(error) = rule.parse::<EgressRule>() {
                return Err(AppError::BadRule(error.to_string()));
            }
        }
        Ok(())
    }

    /// What they mean. One that a later daemon has written and this one cannot read
    /// allows nothing, or denies everything.
    fn rules(&self) -> AppEgress {
        let everything = |_| EgressRule::EVERYTHING;
        let deny = self.deny.iter();
        AppEgress {
            deny: deny
                .map(|rule| rule.parse().unwrap_or_else(everything))
                .collect(),
            allow: self
                .allow
                .iter()
                .filter_map(|rule| rule.parse().ok())
                .collect(),
            default: match self.only_allowed {
                true => EgressDefault::Nothing,
                false => EgressDefault::Public,
            },
        }
    }
}

/// The rules of an app, and what judges by them.
pub(super) struct LiveEgress {
    state: Mutex<State>,
}

struct State {
    texts: EgressTexts,
    /// Shared by all instances; made for the first one.
    rules: Option<Arc<EgressRules>>,
}

impl LiveEgress {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            state: Mutex::new(State {
                texts: EgressTexts::of(settings),
                rules: None,
            }),
        }
    }

    /// What judges the connections of all instances.
    pub(super) fn rules(&self, make: impl FnOnce(AppEgress) -> EgressRules) -> Arc<EgressRules> {
        let mut state = self.state();
        let State { texts, rules } = &mut *state;
        let made = rules.get_or_insert_with(|| Arc::new(make(texts.rules())));
        Arc::clone(made)
    }

    pub(super) fn texts(&self) -> EgressTexts {
        self.state().texts.clone()
    }

    /// Puts others in their place, for connections from now on.
    pub(super) fn put(&self, texts: EgressTexts) {
        let mut state = self.state();
        if let Some(rules) = &state.rules {
            rules.set_app(texts.rules());
        }
        state.texts = texts;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Texts and rules are replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
