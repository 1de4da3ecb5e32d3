//! Certificates from an authority, by ACME (RFC 8555), for names that lead to this worker.
//!
//! One task orders them, one at a time: for names that have none, and again when a third of
//! a certificate's life is left. What fails is tried again after a pause that grows; the old
//! certificate is used meanwhile, whatever its age. Where the server says how long to wait,
//! that is waited. Started by `server`; what it gets is in `certificates`.
//!
//! * `order`: one certificate, from the order to the chain;
//! * `http`: the way to the server;
//! * `folder`: what is kept in the data folder;
//! * `schedule`: when the next attempt is due.

mod folder;
mod http;
mod order;
mod schedule;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use instant_acme::{Account, AccountCredentials, ChallengeType, NewAccount};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use wapo_sni::ServerName;

use crate::config::AcmeSettings;
use crate::data_dir::ACME;
use crate::edge::Certificates;
use crate::limits::{ACME_LOOK_INTERVAL, ACME_NAMES_MAX};
use crate::tls_files::{identity, validity_seconds};
use crate::worker::unix_s;
use folder::Folder;
use http::AuthorityClient;
use order::{Failure, FailureKind, Issued};
use schedule::Validity;

/// Which proofs the ports of this server can give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Proofs {
    /// HTTP-01: a port speaks HTTP in the clear.
    pub(crate) http: bool,
    /// TLS-ALPN-01: a port speaks TLS.
    pub(crate) tls: bool,
}

/// The names that are to have certificates.
pub(crate) type Wanted = Box<dyn Fn() -> BTreeSet<ServerName> + Send + Sync>;

/// Gets certificates and keeps them fresh.
pub(crate) struct Acme {
    settings: AcmeSettings,
    proofs: Proofs,
    client: AuthorityClient,
    folder: Folder,
    certificates: Arc<Certificates>,
    wanted: Wanted,
    names: Mutex<HashMap<ServerName, Name>>,
    issued: AtomicU64,
    failed: AtomicU64,
}

/// What is known of a name.
#[derive(Clone, Copy, Default, Debug)]
struct Name {
    /// Of its certificate, if there is one.
    validity: Option<Validity>,
    failures: Failures,
    /// Something between 0 and 1 that is the name's own.
    share: f64,
}

/// Attempts in a row that failed. In a file, so that a restart does not try too soon.
#[derive(Clone, Copy, Default, Debug, Serialize, Deserialize)]
struct Failures {
    count: u32,
    /// Seconds since 1970.
    not_before: u64,
}

/// A name in figures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NameReading {
    pub(crate) name: String,
    /// Seconds since 1970; 0 without a certificate.
    pub(crate) not_after: u64,
    /// Attempts in a row that failed.
    pub(crate) failures: u32,
}

/// How it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AcmeReading {
    pub(crate) issued: u64,
    pub(crate) failed: u64,
    pub(crate) names: Vec<NameReading>,
}

/// What is the server's: the account, and pauses that hold for all names.
#[derive(Default)]
struct Server {
    account: Option<Account>,
    failures: u32,
    not_before: u64,
}

impl Name {
    /// When the next attempt is due, in seconds since 1970.
    fn due(&self) -> u64 {
        let wanted = self
            .validity
            .map_or(0, |validity| validity.renewal(self.share));
        wanted.max(self.failures.not_before)
    }
}

impl Acme {
    /// Opens what is kept. Blocks.
    ///
    /// # Errors
    ///
    /// A text of one line.
    pub(crate) fn open(
        settings: AcmeSettings,
        proofs: Proofs,
        data_dir: PathBuf,
        certificates: Arc<Certificates>,
        wanted: Wanted,
    ) -> Result<Arc<Self>, String> {
        let folder = Folder::open(data_dir.join(ACME));
        let this = Self {
            client: AuthorityClient::new(&settings.roots)?,
            folder: folder.map_err(|error| format!("the folder `acme`: {error}"))?,
            settings,
            proofs,
            certificates,
            wanted,
            names: Mutex::default(),
            issued: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        this.refresh();
        Ok(Arc::new(this))
    }

    /// Works for as long as it is polled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves an order behind that the server forgets.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut server = Server::default();
        loop {
            let this = Arc::clone(&self);
            // Reads what is kept for names that are new.
            let _ = tokio::task::spawn_blocking(move || this.refresh()).await;
            let now = unix_s();
            match self.next() {
                Some((name, due)) if due.max(server.not_before) <= now => {
                    self.attempt(&mut server, name).await;
                }
                next => {
                    let due = next.map(|(_, due)| due.max(server.not_before));
                    let pause = due.map_or(ACME_LOOK_INTERVAL, |due| {
                        Duration::from_secs(due - now).min(ACME_LOOK_INTERVAL)
                    });
                    let _ = timeout(pause, self.certificates.until_names_change()).await;
                }
            }
        }
    }

    /// The name whose attempt is due first.
    fn next(&self) -> Option<(ServerName, u64)> {
        let names = self.names();
        let due = names.iter().map(|(name, state)| (state.due(), name));
        due.min().map(|(due, name)| (name.clone(), due))
    }

    /// Looks which names are wanted, and what is kept of new ones. Blocks.
    fn refresh(&self) {
        let mut wanted = (self.wanted)();
        while wanted.len() > ACME_NAMES_MAX {
            wanted.pop_last();
        }
        self.names().retain(|name, _| wanted.contains(name));
        self.certificates.keep_issued(|name| wanted.contains(name));
        for name in wanted {
            if self.names().contains_key(&name) {
                continue;
            }
            let state = self.load(&name).unwrap_or_else(|error| {
                tracing::warn!("the stored certificate of {name} cannot be used: {error}");
                Name::default()
            });
            let share = rand::random::<f64>();
            self.names().insert(name, Name { share, ..state });
        }
    }

    fn load(&self, name: &ServerName) -> Result<Name, String> {
        let read = |file: String| self.folder.read(&file).map_err(|error| error.to_string());
        let mut state = Name::default();
        if let Some(bytes) = read(format!("{name}.failed"))? {
            state.failures = serde_json::from_slice(&bytes).unwrap_or_default();
        }
        if let Some(pem) = read(format!("{name}.pem"))? {
            let certificate = identity(&pem, &pem).map_err(|error| error.to_string())?;
            state.validity = validity(&certificate);
            self.certificates.issue(name.clone(), certificate);
        }
        Ok(state)
    }

    async fn attempt(self: &Arc<Self>, server: &mut Server, name: ServerName) {
        self.client.take_haste();
        let outcome = match self.account(server).await {
            Ok(account) => {
                let failures = self.name(&name).failures.count;
                let ways = self.ways(failures);
                order::issue(&account, &name, &ways, &self.certificates).await
            }
            Err(failure) => Err(failure),
        };
        let outcome = match outcome {
            Ok(issued) => self.adopt(&name, issued).await,
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(()) => {
                server.failures = 0;
                self.issued.fetch_add(1, Ordering::Relaxed);
                tracing::info!("{name} has a new certificate");
            }
            Err(failure) => self.note(server, &name, failure).await,
        }
    }

    /// The proofs that can be given, another one first at each attempt: a proof may be
    /// possible for us and not lead here from outside.
    fn ways(&self, failures: u32) -> order::Ways {
        let mut ways = Vec::new();
        if self.proofs.tls {
            ways.push(ChallengeType::TlsAlpn01);
        }
        if self.proofs.http {
            ways.push(ChallengeType::Http01);
        }
        if failures % 2 == 1 {
            ways.reverse();
        }
        ways
    }

    /// The account, made when there is none.
    async fn account(&self, server: &mut Server) -> Result<Account, Failure> {
        if let Some(account) = &server.account {
            return Ok(account.clone());
        }
        let url = self.settings.directory_url.clone();
        let file = Folder::account(&url);
        let builder = Account::builder_with_http(Box::new(self.client.clone()));
        let kept = self.on_disk({
            let file = file.clone();
            move |folder| folder.read(&file)
        });
        let account = match kept.await? {
            Some(bytes) => {
                let credentials: AccountCredentials =
                    serde_json::from_slice(&bytes).map_err(|error| Failure {
                        text: format!(
                            "acme/{file} is damaged: {error}; move it away to have another account"
                        ),
                        kind: FailureKind::Server,
                    })?;
                builder.from_credentials(credentials).await?
            }
            None => {
                let contact = self.settings.contact.as_ref();
                let contact = contact.map(|address| format!("mailto:{address}"));
                let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
                let wish = NewAccount {
                    contact: &contact,
                    terms_of_service_agreed: true,
                    only_return_existing: false,
                };
                let (account, credentials) = builder.create(&wish, url, None).await?;
                let bytes = serde_json::to_vec(&credentials).map_err(|error| Failure {
                    text: error.to_string(),
                    kind: FailureKind::Server,
                })?;
                self.on_disk(move |folder| folder.write(&file, &bytes))
                    .await?;
                account
            }
        };
        server.account = Some(account.clone());
        Ok(account)
    }

    /// Uses and keeps what was issued.
    async fn adopt(&self, name: &ServerName, issued: Issued) -> Result<(), Failure> {
        let Issued { pem, certificate } = issued;
        let validity = validity(&certificate);
        if validity.is_some_and(|validity| !validity.holds(unix_s())) {
            return Err(Failure {
                text: format!(
                    "the new certificate of {name} is not good at this time: is the clock of this machine right?"
                ),
                kind: FailureKind::Server,
            });
        }
        let own = name.clone();
        self.on_disk(move |folder| {
            folder.write(&format!("{own}.pem"), pem.as_bytes())?;
            folder.remove(&format!("{own}.failed"))
        })
        .await?;
        self.certificates.issue(name.clone(), certificate);
        if let Some(state) = self.names().get_mut(name) {
            state.validity = validity;
            state.failures = Failures::default();
        }
        Ok(())
    }

    /// Notes a failure, and when the next attempt may be.
    async fn note(&self, server: &mut Server, name: &ServerName, failure: Failure) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let now = unix_s();
        let share = rand::random::<f64>();
        let asked = self.client.take_haste();
        let mut pause = match failure.kind {
            FailureKind::Name => {
                server.failures = 0;
                self.pause(self.name(name).failures.count + 1, share)
            }
            FailureKind::Account => {
                server.account = None;
                let file = Folder::account(&self.settings.directory_url);
                // Another one is made then.
                let _ = self.on_disk(move |folder| folder.remove(&file)).await;
                self.settings.retry
            }
            FailureKind::Server => {
                server.failures = server.failures.saturating_add(1);
                self.pause(server.failures, share)
            }
        };
        if let Some(asked) = asked {
            pause = pause.max(asked);
        }
        let seconds = pause.as_secs().max(1);
        tracing::warn!(
            "no certificate for {name} yet, the next attempt is in {seconds} s: {}",
            failure.text
        );
        let not_before = now + seconds;
        if failure.kind != FailureKind::Name {
            server.not_before = not_before;
            return;
        }
        let failures = {
            let mut names = self.names();
            let Some(state) = names.get_mut(name) else {
                return;
            };
            state.failures.count = state.failures.count.saturating_add(1);
            state.failures.not_before = not_before;
            state.failures
        };
        let file = format!("{name}.failed");
        let bytes = serde_json::to_vec(&failures).unwrap_or_default();
        // Only a restart would miss it.
        let _ = self
            .on_disk(move |folder| folder.write(&file, &bytes))
            .await;
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let folder = self.folder.clone();
        let done = tokio::task::spawn_blocking(move || work(&folder)).await;
        let done = done.map_err(io::Error::other).flatten();
        done.map_err(|error| Failure {
            text: format!("the folder `acme`: {error}"),
            kind: FailureKind::Server,
        })
    }

    fn pause(&self, failures: u32, share: f64) -> Duration {
        schedule::pause(self.settings.retry, failures, share)
    }

    fn name(&self, name: &ServerName) -> Name {
        self.names().get(name).copied().unwrap_or_default()
    }

    fn names(&self) -> MutexGuard<'_, HashMap<ServerName, Name>> {
        // Every change is complete before the lock is given back.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reading(&self) -> AcmeReading {
        let names = self.names();
        let mut readings: Vec<_> = names
            .iter()
            .map(|(name, state)| NameReading {
                name: name.to_string(),
                not_after: state.validity.map_or(0, |validity| validity.not_after),
                failures: state.failures.count,
            })
            .collect();
        readings.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        AcmeReading {
            issued: self.issued.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            names: readings,
        }
    }
}

fn validity(certificate: &CertifiedKey) -> Option<Validity> {
    let (not_before, not_after) = validity_seconds(certificate)?;
    Some(Validity {
        not_before,
        not_after,
    })
}
