//! How guests come to serve a name on the shared TLS port, and how they stop.
//!
//! What is asked of a name depends on who has to be believed: a certificate says whose
//! it is, an operator who gives a name to an app does, too. Where certificates are not
//! verified the operator lets every app have any name. A name that was claimed stays
//! its family's until it is removed or closes its listeners itself, over restarts of the
//! daemon as well (`claims`); what only a version
//! claimed that never got to serve is free when that is gone. Called by the embedder of
//! an app.

use std::sync::Arc;

use tokio::time::Instant;
use wapo_abi::Errno;
use wapo_host::{Denial, InstanceId, SniIdentity, SniListener, SniRequest};
use wapo_sni::{Pattern, Refusal, ServerName};

use super::certificates::ACME_TLS;
use super::serving::{Load, NameListener, Offer, Serving};
use super::{Edge, Table, certificate, wake};
use crate::limits::{CLAIMS_OF_APP_MAX, LISTENERS_OF_NAME_MAX};
use crate::worker::{App, Family};

fn refuse(errno: Errno, text: impl Into<String>) -> Denial {
    Denial {
        errno,
        text: text.into(),
    }
}

/// The requester of a name.
struct Asking<'a> {
    app: &'a App,
    instance: InstanceId,
    load: Arc<Load>,
}

impl Edge {
    /// Lets an instance serve a name. See [`wapo_host::Embedder::listen_sni`].
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub(crate) fn listen(
        self: &Arc<Self>,
        app: &App,
        instance: InstanceId,
        request: SniRequest<'_>,
    ) -> Result<Box<dyn SniListener>, Denial> {
        let pattern = self.check(&request)?;
        let load = {
            let mut instances = self.instances();
            Arc::clone(&instances.entry(instance).or_default().load)
        };
        let asking = Asking {
            app,
            instance,
            load,
        };
        let registered = self.write(|table| self.register(table, &asking, &pattern, request));
        let (serving, number) = registered?;
        let mut instances = self.instances();
        let serves = instances.entry(instance).or_default();
        serves.names.push(Arc::clone(&serving));
        drop(instances);
        // Looked at now: an instance that begins to leave later finds the name.
        if app.is_leaving(instance) {
            wake(serving.leave(instance));
        }
        let edge = Arc::clone(self);
        let listener = NameListener::new(edge, serving, pattern, instance, app, number);
        Ok(Box::new(listener))
    }

    /// Checks what can be checked without the table.
    fn check(&self, request: &SniRequest<'_>) -> Result<Pattern, Denial> {
        if !self.is_open {
            let text = "this worker has no shared TLS port; wapod --tls-port or wapo run --tls-port opens one";
            return Err(refuse(Errno::FORBIDDEN, text));
        }
        let pattern = request
            .name
            .parse::<Pattern>()
            .map_err(|error| refuse(Errno::INVALID_PARAMETER, error.to_string()))?;
        if request.protocols.iter().any(|name| name == ACME_TLS) {
            let text = "the protocol acme-tls/1 is not for guests: the port refuses its clients";
            return Err(refuse(Errno::INVALID_PARAMETER, text));
        }
        // Before the lock is taken: it needs time for each certificate.
        if let Some(SniIdentity::Provided(identity)) = &request.identity {
            certificate::check(identity, &pattern, self.roots.as_deref())
                .map_err(|reason| refuse(Errno::INVALID_PARAMETER, reason))?;
        }
        Ok(pattern)
    }

    fn register(
        &self,
        table: &mut Table,
        asking: &Asking<'_>,
        pattern: &Pattern,
        request: SniRequest<'_>,
    ) -> Result<(Arc<Serving>, u64), Denial> {
        let (app, family) = (asking.app, asking.app.family());
        let kin = table.families.get(&family).cloned();
        let kin =
            kin.ok_or_else(|| refuse(Errno::INVALID_PARAMETER, "the app is on its way out"))?;
        let is_new = table.names.get(pattern).is_none();
        // Who has it is found out below.
        if self.is_plain_localhost(pattern) {
            let _ = table.names.bind(pattern.clone(), family);
        }
        // Nothing else would say whose the name is.
        let is_given = matches!(request.identity, Some(SniIdentity::Provided(_)));
        if !is_given && self.roots.is_some() && !table.names.is_bound_to(pattern, family) {
            let text = "TLS by the app itself, and with a certificate that nobody signs who is trusted, is for names that the operator has given to it (wapo deploy --name, wapo domain add), unless wapod runs with --do-not-verify-tls-server-cert";
            return Err(refuse(Errno::FORBIDDEN, text));
        }
        let offer = Offer::new(&kin, app.serial, request)
            .map_err(|error| refuse(Errno::RESOURCE_LIMITED, error.to_string()))?;
        let make = || Arc::new(Serving::new(kin, app.serial));
        let claimed = table.names.claim(pattern.clone(), family, make);
        let serving = Arc::clone(claimed.map_err(|refused| self.explain(refused))?);
        let load = Arc::clone(&asking.load);
        let number = serving.register(asking.instance, app.serial, offer, load);
        let number = number.ok_or_else(|| {
            let text = format!("the instance listens for it {LISTENERS_OF_NAME_MAX} times already");
            refuse(Errno::RESOURCE_LIMITED, text)
        })?;
        if is_new {
            self.claims_changed(family);
        }
        Ok((serving, number))
    }

    /// Whether a name is that of the usual base domain, which is on no other
    /// machine: the first app to ask for it has it, as it was before apps had names
    /// below it.
    fn is_plain_localhost(&self, pattern: &Pattern) -> bool {
        let base = self.base_domain.as_ref();
        matches!(pattern, Pattern::Exact(name) if name.as_str() == "localhost" && base == Some(name))
    }

    /// A guest has closed a listener and lives on: the name is free unless it is
    /// bound, others of the family serve it, or it is that of an earlier version whose
    /// place this one has not taken.
    pub(crate) fn unlisten(&self, app: &App, name: &str) {
        let Ok(pattern) = name.parse::<Pattern>() else {
            return;
        };
        self.release_if(app.family(), pattern, |serving| {
            let (serves, claimer) = (serving.kin().serial(), serving.claimer());
            serves == app.serial || (claimer == app.serial && app.serial > serves)
        });
    }

    /// Makes a name without listeners free, if that is allowed now.
    fn release_if(
        &self,
        family: Family,
        pattern: Pattern,
        may_go: impl FnOnce(&Arc<Serving>) -> bool,
    ) {
        // Decided under the lock: nobody begins to listen, or takes over, meanwhile.
        let ended = self.write(|table| {
            let entry = table.names.get(&pattern)?;
            let serving = entry.value()?;
            let goes = entry.owner() == family && !serving.has_listeners() && may_go(serving);
            goes.then(|| table.names.release(pattern, family))?
        });
        if let Some(serving) = ended {
            serving.end();
            self.claims_changed(family);
        }
    }

    /// An instance takes no more connections.
    pub(crate) fn leave(&self, instance: InstanceId) {
        let names = {
            let instances = self.instances();
            let serves = instances.get(&instance);
            serves.map(|serves| serves.names.clone())
        };
        for serving in names.unwrap_or_default() {
            wake(serving.leave(instance));
        }
    }

    /// When an instance last had a connection of the port, or one was on its way to it:
    /// now, while it has one. `None` when it has never served a name.
    pub(crate) fn last_used(&self, instance: InstanceId) -> Option<Instant> {
        let instances = self.instances();
        let load = &instances.get(&instance)?.load;
        Some(match load.open() {
            0 => load.used(),
            _ => Instant::now(),
        })
    }

    /// An instance is gone.
    pub(crate) fn instance_ended(&self, instance: InstanceId) {
        self.instances().remove(&instance);
    }

    /// A listener is gone, because its guest has closed it or has ended. What a
    /// version claimed that never got to serve is free again.
    pub(super) fn listener_gone(&self, listener: &NameListener) {
        let NameListener {
            instance,
            serving,
            serial,
            ..
        } = listener;
        if let Some(serves) = self.instances().get_mut(instance)
            && let Some(index) = serves
                .names
                .iter()
                .position(|one| Arc::ptr_eq(one, serving))
        {
            serves.names.swap_remove(index);
        }
        wake(serving.deregister(listener.number));
        let is_unproven = || *serial > serving.kin().serial() && serving.claimer() == *serial;
        if is_unproven() {
            let (pattern, family) = (listener.pattern.clone(), serving.kin().family());
            self.release_if(family, pattern, |held| {
                Arc::ptr_eq(held, serving) && is_unproven()
            });
        }
    }

    /// Why a name cannot be had, and what helps.
    fn explain(&self, refusal: Refusal<Family>) -> Denial {
        let base = self.base_domain.as_ref().map_or("", ServerName::as_str);
        let text = match refusal {
            Refusal::Taken(_) => "the name is another app's".to_owned(),
            Refusal::BaseDomain => {
                format!("below {base} an app has the name only that it was deployed with")
            }
            Refusal::Wildcard => "a wildcard has to be given to the app by the operator".to_owned(),
            Refusal::TooMany => format!(
                "the app serves {CLAIMS_OF_APP_MAX} names already, which is all it can claim"
            ),
        };
        let errno = match refusal {
            Refusal::TooMany => Errno::RESOURCE_LIMITED,
            _ => Errno::INVALID_PARAMETER,
        };
        refuse(errno, text)
    }
}
