//! When instances count as ready, and when a new version has proved itself.
//!
//! An instance is ready when its first poll has returned and it offers what the other
//! instances offer, or those of the version that it replaces: addresses that it
//! listens on, names that it serves by TLS, HTTP requests, queries. The error names
//! what is missing at the deadline. Called by `lifecycle` and `deploy` after each
//! start that a caller waits for.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use wapo_host::{ExitReason, Phase, Status};
use wapo_sni::Pattern;

use super::app::App;
use super::instance::Instance;
use super::offers::Offers;

impl Offers {
    fn of(app: &App, status: &Status) -> Self {
        let ports = app.ports();
        let listening = status.listening.iter().map(|one| one.address);
        Self {
            takes_http: status.takes_http,
            takes_queries: status.takes_queries,
            addresses: listening
                .filter(|address| ports.tcp.is_shared(app.family(), *address))
                .collect(),
            udp: status
                .listening_udp
                .iter()
                .copied()
                .filter(|address| ports.udp.is_shared(app.family(), *address))
                .collect(),
            names: status.names.iter().map(in_one_form).collect(),
        }
    }

    /// What instances offer together.
    fn together(app: &App, instances: &[Arc<Instance>]) -> Self {
        let mut all = Self::default();
        for one in instances {
            let one = Self::of(app, &one.status());
            all.takes_http |= one.takes_http;
            all.takes_queries |= one.takes_queries;
            all.addresses.extend(one.addresses);
            all.udp.extend(one.udp);
            all.names.extend(one.names);
        }
        all
    }

    /// What each of the instances offers that run.
    fn each(app: &App, instances: &[Arc<Instance>]) -> Self {
        let running = instances.iter().filter_map(|one| {
            let status = one.status();
            (status.phase == Phase::Running).then(|| Self::of(app, &status))
        });
        let common = running.reduce(|one, other| Self {
            takes_http: one.takes_http && other.takes_http,
            takes_queries: one.takes_queries && other.takes_queries,
            addresses: &one.addresses & &other.addresses,
            udp: &one.udp & &other.udp,
            names: &one.names & &other.names,
        });
        common.unwrap_or_default()
    }
}

/// A name as all guests mean it, however they write it.
fn in_one_form(name: &Arc<str>) -> Arc<str> {
    let pattern = name.parse::<Pattern>();
    pattern.map_or_else(|_| Arc::clone(name), |pattern| pattern.to_string().into())
}

/// Why instances are not ready.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum NotReady {
    /// One of them ended.
    Failed(ExitReason),
    /// The first poll of one has not returned yet.
    Starting(u64),
    /// They do not do what others do or did, in words that follow the name of the
    /// instance, or of the app.
    Missing { instance: Option<u64>, what: String },
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(reason) => write!(f, "{reason}"),
            Self::Starting(id) => {
                write!(f, "the first poll of instance {id} has not returned yet")
            }
            Self::Missing {
                instance: Some(id),
                what,
            } => write!(f, "instance {id} {what}"),
            Self::Missing {
                instance: None,
                what,
            } => write!(f, "it {what}"),
        }
    }
}

/// What is expected of new instances.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// Of each.
    each: Offers,
    /// Of all instances of the app together.
    together: Offers,
    /// Whether a crash is a failure even after the first poll has begun. An app
    /// that nobody relies on yet may crash and start again.
    is_strict: bool,
}

impl Expected {
    /// Nothing but a first poll.
    pub(super) fn first_poll() -> Self {
        Self {
            each: Offers::default(),
            together: Offers::default(),
            is_strict: false,
        }
    }

    /// What the other instances of the app offer, or what earlier ones did.
    pub(super) fn beside(app: &App, others: &[Arc<Instance>]) -> Self {
        Self {
            each: Offers::each(app, others),
            together: app.state().offered.as_deref().cloned().unwrap_or_default(),
            is_strict: false,
        }
    }

    /// What the app offers whose place is taken, and no crash.
    pub(super) fn in_place_of(old: &App) -> Self {
        let instances = old.instances();
        Self {
            each: Offers::each(old, &instances),
            together: Offers::together(old, &instances),
            is_strict: true,
        }
    }

    /// Whether the new instances of an app are ready.
    fn judge(&self, app: &App, new: &[Arc<Instance>]) -> Result<(), NotReady> {
        for one in new {
            let id = one.handle().id().0;
            let status = one.status().clone();
            let crash = match &status.phase {
                Phase::Ended(reason) | Phase::Waiting(reason) if !reason.is_success() => {
                    Some(reason.clone())
                }
                _ if status.restarts > 0 => Some(ExitReason::FailedToStart(
                    "it ended and was started again".to_owned(),
                )),
                _ => None,
            };
            match (crash, &status.phase) {
                (Some(reason), _) if self.is_strict || !status.has_run => {
                    return Err(NotReady::Failed(reason));
                }
                (_, Phase::Starting) => {
                    return Err(NotReady::Starting(id));
                }
                (_, Phase::Running) => {
                    let offers = Offers::of(app, &status);
                    if let Some(what) = self.each.missing_in(&offers) {
                        let instance = Some(id);
                        return Err(NotReady::Missing { instance, what });
                    }
                }
                // What has ended offers nothing; whether others do is seen below.
                (_, Phase::Waiting(_) | Phase::Ended(_)) => {}
            }
        }
        let offers = Offers::together(app, &app.instances());
        match self.together.missing_in(&offers) {
            Some(what) => Err(NotReady::Missing {
                instance: None,
                what,
            }),
            None => Ok(()),
        }
    }

    /// Waits until new instances are ready.
    ///
    /// # Errors
    ///
    /// [`NotReady::Failed`] at once, others at the deadline.
    pub(super) async fn wait(
        &self,
        app: &App,
        new: &[Arc<Instance>],
        deadline: Instant,
    ) -> Result<(), NotReady> {
        loop {
            let mut changed = pin!(app.changed.notified());
            changed.as_mut().enable();
            match self.judge(app, new) {
                verdict @ (Ok(()) | Err(NotReady::Failed(_))) => return verdict,
                later => {
                    if timeout_at(deadline, changed).await.is_err() {
                        return later;
                    }
                }
            }
        }
    }

    /// Watches instances that are ready for some time.
    ///
    /// # Errors
    ///
    /// [`NotReady::Failed`] at once, what is missing at the end of the time.
    pub(super) async fn settle(
        &self,
        app: &App,
        new: &[Arc<Instance>],
        time: Duration,
    ) -> Result<(), NotReady> {
        let deadline = Instant::now() + time;
        loop {
            let mut changed = pin!(app.changed.notified());
            changed.as_mut().enable();
            let verdict = self.judge(app, new);
            if matches!(verdict, Err(NotReady::Failed(_))) {
                return verdict;
            }
            if timeout_at(deadline, changed).await.is_err() {
                return self.judge(app, new);
            }
        }
    }
}

impl App {
    /// Remembers what the instances offer, for those that come after them.
    pub(super) fn note_offers(&self) {
        let instances = self.instances();
        let offers = Offers::together(self, &instances);
        if offers != Offers::default() {
            self.state().offered = Some(Box::new(offers));
        }
    }
}
