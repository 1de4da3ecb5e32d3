//! The edge: names of apps, and the TLS port that all apps share.
//!
//! One table says whose each host name is: labels below the base domain, names that
//! the operator has bound, names that guests serve by TLS. A name belongs to a
//! [`Family`], so nothing is moved when one app takes the place of another; who of
//! the family serves is flipped in one step ([`Edge::hand_over`]). The gateway looks
//! labels up here, the port (`port`) names of clients, and guests ask for names
//! through `embedder`.
//!
//! * `listening`: how guests come to serve a name, and stop;
//! * `claims`: what the worker writes down of that;
//! * `serving`: the listeners of one name, and connections that wait for one;
//! * `port`: accepts, finds who serves, hands over;
//! * `handshake`: until TLS is spoken;
//! * `parking`: waits for an app that has no listener yet;
//! * `leave`: names that apps leave to the gateway;
//! * `certificate`, `certificates`, `tickets`: what TLS is spoken with.
//!
//! Knows no HTTP and keeps nothing on disk. The lock of the table is held for a look
//! or a change, never while anything is awaited or called.

mod certificate;
mod certificates;
mod claims;
mod figures;
mod handshake;
mod kin;
mod leave;
mod listening;
mod parking;
mod port;
mod serving;
mod tickets;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::task::Waker;

use rustls::RootCertStore;
use wapo_host::InstanceId;
use wapo_sni::{Names, Pattern, Refusal, ServerName};

pub(crate) use certificate::is_for as check_certificate;
pub(crate) use certificates::{Certificates, ChallengeGuard};
pub(crate) use figures::Figures;
pub(crate) use kin::Kin;
pub(crate) use port::TlsPort;
use serving::{Load, Serving};
pub(crate) use tickets::attested_config;

use crate::config::TlsSettings;
use crate::limits::CLAIMS_OF_APP_MAX;
use crate::worker::{App, Family};

/// Whose names are, and who serves them.
pub(crate) struct Edge {
    table: RwLock<Table>,
    /// What each instance serves.
    instances: Mutex<HashMap<InstanceId, Serves>>,
    base_domain: Option<ServerName>,
    /// Whether there is a port; without one, nobody serves anything.
    is_open: bool,
    /// The accepted signers of certificates; `None` for any.
    roots: Option<Arc<RootCertStore>>,
    /// With which the daemon ends TLS itself.
    certificates: Arc<Certificates>,
    /// What the worker has yet to write down.
    changed_claims: claims::Changed,
    /// Connections that the port has room for.
    places: usize,
    figures: Figures,
}

struct Table {
    names: Names<Family, Arc<Serving>>,
    /// Labels below the base domain, and whose each is: while one app takes the
    /// place of another, both may have one.
    labels: HashMap<String, Label>,
    families: HashMap<Family, Arc<Kin>>,
}

impl Table {
    fn hand_over(&mut self, to: &Arc<App>, places: usize) -> Vec<Waker> {
        let family = to.family();
        let kin = self.families.entry(family);
        let kin = kin.or_insert_with(|| Arc::new(Kin::new(to, places)));
        kin.hand_over(to);
        let served = self.names.iter();
        let of_family = served.filter(|(_, entry)| entry.owner() == family);
        let servings = of_family.filter_map(|(_, entry)| entry.value());
        servings.flat_map(|one| one.all_look()).collect()
    }
}

/// Who has a label. Weak: apps know the table, and the worker has the apps.
struct Label {
    serial: u64,
    app: Weak<App>,
}

impl Label {
    fn of(app: &Arc<App>) -> Self {
        Self {
            serial: app.serial,
            app: Arc::downgrade(app),
        }
    }
}

/// What one instance serves.
#[derive(Default)]
struct Serves {
    names: Vec<Arc<Serving>>,
    load: Arc<Load>,
}

/// Whose a name is.
pub(crate) struct Found {
    /// The app that has it now.
    pub(crate) app: Arc<App>,
    /// What it shares with those whose place it took.
    pub(crate) kin: Arc<Kin>,
    /// Who serves it by TLS; `None` when nobody ever has.
    pub(crate) serving: Option<Arc<Serving>>,
}

/// What became of the wish for a domain.
pub(crate) enum Bound {
    Done,
    /// Another app has it; this one, if it is still there.
    Taken(Option<Arc<App>>),
}

impl Edge {
    /// An empty table. `base_domain` is where apps have their labels, empty for
    /// nowhere; the port has room for `places` connections. `None` for a text that is no
    /// domain.
    pub(crate) fn new(
        base_domain: &str,
        tls: Option<&TlsSettings>,
        roots: RootCertStore,
        places: usize,
    ) -> Option<Arc<Self>> {
        let base_domain = match base_domain.trim_matches('.') {
            "" => None,
            text => Some(text.parse::<ServerName>().ok()?),
        };
        let verifies = tls.is_some_and(|tls| tls.verifies_certificates);
        Some(Arc::new(Self {
            table: RwLock::new(Table {
                names: Names::new(base_domain.clone(), CLAIMS_OF_APP_MAX),
                labels: HashMap::new(),
                families: HashMap::new(),
            }),
            instances: Mutex::default(),
            base_domain,
            is_open: tls.is_some(),
            roots: verifies.then(|| Arc::new(roots)),
            certificates: Arc::default(),
            changed_claims: claims::Changed::default(),
            places,
            figures: Figures::default(),
        }))
    }

    /// What has become of the port's connections.
    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Connections of the port that guests of an app, and of those whose place it
    /// took, have had.
    pub(crate) fn connections_of(&self, app: &App) -> u64 {
        let kin = self.read(|table| table.families.get(&app.family()).cloned());
        kin.map_or(0, |kin| kin.connections())
    }

    /// Names that are taken.
    pub(crate) fn names_count(&self) -> usize {
        self.read(|table| table.names.iter().count())
    }

    /// Whose a name is: the app that has exactly it, else the app that has a wildcard
    /// for it.
    pub(crate) fn find(&self, name: &ServerName) -> Option<Found> {
        let label = self.label_of(name);
        self.read(|table| {
            let entry = table.names.find(name)?;
            let kin = table.families.get(&entry.owner())?;
            let by_label = label.and_then(|label| table.labels.get(label)?.app.upgrade());
            Some(Found {
                app: by_label.or_else(|| kin.app())?,
                kin: Arc::clone(kin),
                serving: entry.value().cloned(),
            })
        })
    }

    /// Gives a name or a wildcard to an app and those that take its place, whether
    /// or not it serves it.
    ///
    /// # Errors
    ///
    /// [`Refusal::Taken`] when another app has it.
    pub(crate) fn bind(&self, app: &App, pattern: Pattern) -> Result<(), Refusal<Family>> {
        self.write(|table| table.names.bind(pattern, app.family()))
    }

    /// Gives a domain to an app, as [`bind`](Self::bind) does.
    pub(crate) fn bind_domain(&self, app: &App, pattern: Pattern) -> Bound {
        let owner = match self.bind(app, pattern) {
            Ok(()) => return Bound::Done,
            Err(Refusal::Taken(owner)) => owner,
            Err(_) => return Bound::Taken(None),
        };
        let kin = self.read(|table| table.families.get(&owner).cloned());
        Bound::Taken(kin.and_then(|kin| kin.app()))
    }

    /// Whether a pattern is the base domain, a name below it, or a wildcard for such.
    pub(crate) fn is_of_base_domain(&self, pattern: &Pattern) -> bool {
        let Some(base) = &self.base_domain else {
            return false;
        };
        let (Pattern::Exact(name) | Pattern::Wildcard(name)) = pattern;
        let rest = name.as_str().strip_suffix(base.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// Whether any app serves a name, or is bound to one.
    pub(crate) fn has_names(&self) -> bool {
        self.read(|table| !table.names.is_empty())
    }

    /// The app that an operator has bound a name to. What apps claim for TLS of their own
    /// counts for the shared port alone.
    pub(crate) fn bound(&self, name: &ServerName) -> Option<Arc<App>> {
        self.read(|table| {
            let entry = table.names.find(name)?;
            let kin = table.families.get(&entry.owner())?;
            entry.is_bound().then(|| kin.app())?
        })
    }

    /// Where apps have their labels.
    pub(crate) fn base_domain(&self) -> Option<&ServerName> {
        self.base_domain.as_ref()
    }

    /// Certificates with which the daemon ends TLS itself.
    pub(crate) fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// Takes a bound name back, and with it what serves it; says whether it was
    /// this app's.
    pub(crate) fn unbind(&self, app: &App, pattern: Pattern) -> bool {
        let taken = self.write(|table| table.names.unbind(pattern.clone(), app.family()));
        if taken.is_some() {
            self.certificates.forget_domain(&pattern);
        }
        if let Some(serving) = taken.as_ref().and_then(|entry| entry.value()) {
            serving.end();
        }
        taken.is_some()
    }

    /// The app with a label.
    pub(crate) fn labelled(&self, label: &str) -> Option<Arc<App>> {
        self.read(|table| table.labels.get(label)?.app.upgrade())
    }

    /// Gives a label to an app, unless another one has it; says whether it has it
    /// now.
    pub(crate) fn take_label(&self, app: &Arc<App>, label: &str) -> bool {
        let name = self.labels_name(label);
        self.write(|table| {
            let owner = table.labels.get(label);
            if owner.is_some_and(|owner| owner.serial != app.serial) {
                return false;
            }
            if let Some(name) = name
                && table.names.bind(name, app.family()).is_err()
            {
                return false;
            }
            table.labels.insert(label.to_owned(), Label::of(app));
            true
        })
    }

    /// Gives an app a label that another one of its family has.
    pub(crate) fn inherit_label(&self, from: &App, to: &Arc<App>, label: &str) {
        self.write(|table| {
            if let Some(owner) = table.labels.get_mut(label)
                && owner.serial == from.serial
            {
                *owner = Label::of(to);
            }
        });
    }

    /// The app that takes the place of another one, or has taken it.
    pub(crate) fn successor(&self, app: &App) -> Option<Arc<App>> {
        let kin = self.read(|table| table.families.get(&app.family()).cloned())?;
        let next = kin.next().or_else(|| kin.app());
        next.filter(|next| next.serial != app.serial)
    }

    /// Makes a label free, if it is this app's.
    pub(crate) fn release_label(&self, app: &App, label: &str) {
        let name = self.labels_name(label);
        let ended = self.write(|table| {
            let owner = table.labels.get(label);
            if owner.is_none_or(|owner| owner.serial != app.serial) {
                return None;
            }
            table.labels.remove(label);
            table.names.unbind(name?, app.family())
        });
        if let Some(serving) = ended.as_ref().and_then(|entry| entry.value()) {
            serving.end();
        }
    }

    /// Lets an app have names. It is the one of its family that serves, or the next
    /// one if another one does.
    pub(crate) fn enter(&self, app: &Arc<App>) {
        self.write(|table| {
            let kin = table.families.entry(app.family());
            let kin = kin.or_insert_with(|| Arc::new(Kin::new(app, self.places)));
            if kin.serial() != app.serial {
                kin.set_next(Some(app));
            }
        });
    }

    /// From now on this app of its family serves all names of it.
    pub(crate) fn hand_over(&self, to: &Arc<App>) {
        wake(self.write(|table| table.hand_over(to, self.places)));
    }

    /// Makes all names of an app free when it goes. They stay when another one of
    /// its family serves them, or is about to.
    pub(crate) fn forget(&self, app: &App) {
        let family = app.family();
        let (ended, wakers) = self.write(|table| {
            let Some(kin) = table.families.get(&family) else {
                return (Vec::new(), Vec::new());
            };
            if kin.serial() != app.serial {
                kin.set_next(None);
                return (Vec::new(), Vec::new());
            }
            if let Some(next) = kin.next() {
                return (Vec::new(), table.hand_over(&next, self.places));
            }
            table.families.remove(&family);
            (table.names.forget(family), Vec::new())
        });
        wake(wakers);
        ended.iter().for_each(|serving| serving.end());
    }

    /// The label of a name directly below the base domain.
    fn label_of<'a>(&self, name: &'a ServerName) -> Option<&'a str> {
        let base = self.base_domain.as_ref()?;
        let (label, parent) = name.as_str().split_once('.')?;
        (parent == base.as_str()).then_some(label)
    }

    /// The name that a label stands for.
    fn labels_name(&self, label: &str) -> Option<Pattern> {
        let base = self.base_domain.as_ref()?;
        format!("{label}.{base}").parse().ok()
    }

    fn read<T>(&self, look: impl FnOnce(&Table) -> T) -> T {
        // Every change of the table is complete before the next one begins.
        look(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        change(&mut self.table.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn instances(&self) -> MutexGuard<'_, HashMap<InstanceId, Serves>> {
        self.instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}
