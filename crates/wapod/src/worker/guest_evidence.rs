//! Attestation for guests: quotes and evidence, one after the other, and TLS with a
//! certificate of their app.
//!
//! Each app has an [`AppQuotes`], which all its instances share: one quote at a time,
//! at a rate, and a bounded number of what waits. An [`AttestedTls`] belongs to a
//! listener of a guest. Its certificate is made by the handshake that finds none, or
//! one that is outdated: after new evidence, after a rotation of the key. So nothing
//! has to be renewed for listeners, and a client that connects after a rotation sees
//! the new key. The key never leaves the daemon. Called by `embedder`.

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use parity_scale_codec::Encode as _;
use rustls::ServerConfig;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use wapo_abi::Errno;
use wapo_host::{BoxFuture, Denial, LiveTls};
use wapo_sni::Pattern;

use super::app::App;
use super::attester::{Attester, EvidenceError};
use super::proofs::Basis;
use crate::attestation::{Asker, Pace, QuoteError};
use crate::edge;
use crate::limits::{
    APP_EVIDENCE_WAITING_MAX, APP_QUOTES_BURST, APP_QUOTES_PER_SECOND, GUEST_CERTIFICATE_NAMES_MAX,
};

// The contract and the form of evidence say the same.
const _: () =
    assert!(wapo_abi::caps::EVIDENCE_NONCE_BYTES_MAX == wapo_rpc::limits::EVIDENCE_NONCE_BYTES_MAX);

/// The quotes of one app.
pub(crate) struct AppQuotes {
    places: Arc<Semaphore>,
    /// Held while a quote is made.
    line: Arc<Mutex<Pace>>,
}

impl Default for AppQuotes {
    fn default() -> Self {
        let pace = Pace::full(APP_QUOTES_PER_SECOND, APP_QUOTES_BURST);
        Self {
            places: Arc::new(Semaphore::new(APP_EVIDENCE_WAITING_MAX)),
            line: Arc::new(Mutex::new(pace)),
        }
    }
}

impl AppQuotes {
    /// The app's turn to have a quote made, until it is dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) fn turn(&self) -> impl Future<Output = OwnedMutexGuard<Pace>> + Send + use<> {
        let line = Arc::clone(&self.line);
        async move {
            let mut turn = line.lock_owned().await;
            turn.turn().await;
            turn
        }
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Denial> {
        Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Denial {
                errno: Errno::RESOURCE_LIMITED,
                text: format!(
                    "the app waits for {APP_EVIDENCE_WAITING_MAX} already, which is all that it may"
                ),
            })
    }

    /// Begins to make evidence of an app for one of its guests.
    ///
    /// # Errors
    ///
    /// As [`wapo_host::Embedder::app_evidence`].
    pub(crate) fn evidence(
        &self,
        attester: &Arc<Attester>,
        app: Option<Arc<App>>,
        nonce: Vec<u8>,
    ) -> Result<BoxFuture<Result<Vec<u8>, Denial>>, Denial> {
        if attester.source().is_none() {
            return Err(Denial::no_attestation());
        }
        let app = app.ok_or_else(gone)?;
        let place = self.place()?;
        let (attester, turn) = (Arc::clone(attester), self.turn());
        Ok(Box::pin(async move {
            let _place = place;
            let _turn = match nonce.is_empty() {
                true => None,
                false => Some(turn.await),
            };
            let made = attester.app_evidence(&app, nonce, Asker::Guest).await;
            made.map(|evidence| evidence.encode()).map_err(denial)
        }))
    }
}

fn gone() -> Denial {
    Denial {
        errno: Errno::RESOURCE_LIMITED,
        text: "the app is on its way out".to_owned(),
    }
}

fn denial(error: EvidenceError) -> Denial {
    let errno = match &error {
        EvidenceError::LongNonce(_) => Errno::INVALID_PARAMETER,
        EvidenceError::Quote(QuoteError::Busy(_)) => Errno::RESOURCE_LIMITED,
        EvidenceError::Quote(_) | EvidenceError::TooLong(_) => Errno::IO_ERROR,
    };
    Denial {
        errno,
        text: error.to_string(),
    }
}

/// TLS of one listener of a guest.
pub(crate) struct AttestedTls {
    attester: Arc<Attester>,
    app: Weak<App>,
    names: Vec<String>,
    protocols: Vec<Vec<u8>>,
    /// Held while a certificate is made, so that many who miss it have it made once.
    current: Mutex<Option<Current>>,
}

/// A certificate, and what it was made of.
struct Current {
    config: Arc<ServerConfig>,
    basis: Basis,
}

impl AttestedTls {
    /// For names and addresses that a guest has chosen.
    ///
    /// # Errors
    ///
    /// As [`wapo_host::Embedder::attested_tls`].
    pub(crate) fn new(
        attester: &Arc<Attester>,
        app: Option<Arc<App>>,
        names: &[String],
        protocols: Vec<Vec<u8>>,
    ) -> Result<Arc<Self>, Denial> {
        if attester.source().is_none() {
            return Err(Denial::no_attestation());
        }
        let names = checked(names).map_err(|text| Denial {
            errno: Errno::INVALID_PARAMETER,
            text,
        })?;
        Ok(Arc::new(Self {
            attester: Arc::clone(attester),
            app: Arc::downgrade(&app.ok_or_else(gone)?),
            names,
            protocols,
            current: Mutex::default(),
        }))
    }

    async fn current(&self, app: &App) -> Result<Arc<ServerConfig>, String> {
        let worker = self.attester.worker_evidence(Vec::new(), Asker::Worker);
        let worker = worker.await.map_err(|error| error.to_string())?;
        let mut current = self.current.lock().await;
        let key_version = self.attester.keys().of(&app.address);
        if let Some(now) = &*current
            && now.basis.is(&worker, key_version)
        {
            return Ok(Arc::clone(&now.config));
        }
        let certified = self.attester.certificate_with(app, &self.names, &worker);
        let certified = certified.map_err(|error| error.to_string())?;
        let config = edge::attested_config(certified, self.protocols.clone());
        let config = config.map_err(|error| error.to_string())?;
        *current = Some(Current {
            config: Arc::clone(&config),
            basis: Basis {
                worker,
                key_version,
            },
        });
        Ok(config)
    }
}

impl LiveTls for AttestedTls {
    fn config(self: Arc<Self>) -> BoxFuture<Result<Arc<ServerConfig>, Denial>> {
        Box::pin(async move {
            let app = self.app.upgrade().ok_or_else(gone)?;
            let current = self.current(&app).await;
            current.map_err(|text| {
                app.log_failure(
                    None,
                    &format!("a client was turned away: no attested certificate: {text}"),
                );
                Denial {
                    errno: Errno::IO_ERROR,
                    text,
                }
            })
        })
    }
}

/// Names and addresses as certificates have them.
fn checked(names: &[String]) -> Result<Vec<String>, String> {
    if names.len() > GUEST_CERTIFICATE_NAMES_MAX {
        return Err(format!(
            "{} names are more than the {GUEST_CERTIFICATE_NAMES_MAX} that a certificate may have",
            names.len()
        ));
    }
    let name = |name: &String| {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(address.to_string());
        }
        let pattern = name.parse::<Pattern>();
        let pattern = pattern.map_err(|error| format!("{}: {error}", name.escape_debug()))?;
        Ok(pattern.to_string())
    };
    names.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::{Duration, Instant};

    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn names_are_those_of_hosts_wildcards_and_addresses() {
        let names = ["Shop.Example.com.", "*.example.com", "10.0.0.1", "::1"];
        let names = names.map(str::to_owned);
        let written = ["shop.example.com", "*.example.com", "10.0.0.1", "::1"];
        assert_eq!(checked(&names), Ok(written.map(str::to_owned).to_vec()));
        assert_eq!(checked(&[]), Ok(Vec::new()));
        let long = "a".repeat(254);
        for bad in [
            "",
            "*",
            "a b.example",
            "a.example\n",
            "a..example",
            "10.0.0.1:443",
            &long,
        ] {
            assert!(checked(&[bad.to_owned()]).is_err(), "{bad}");
        }
        let many = vec!["a.example".to_owned(); GUEST_CERTIFICATE_NAMES_MAX + 1];
        assert!(checked(&many).is_err());
        assert!(checked(&many[1..]).is_ok());
    }

    #[tokio::test]
    async fn an_app_has_one_quote_at_a_time_and_waits_for_its_next_turn() {
        let quotes = AppQuotes::default();
        let turn = quotes.turn().await;
        let mut second = pin!(quotes.turn());
        assert!(second.as_mut().now_or_never().is_none(), "one at a time");
        drop(turn);
        drop(second.await);
        let at_once = (0..1000)
            .take_while(|_| quotes.turn().now_or_never().is_some())
            .count();
        assert!(at_once < 1000, "it waits when the burst is used up");
        let mut line = quotes.line.lock().await;
        let time = line.take(Instant::now()).expect_err("the burst is used up");
        assert!(time <= Duration::from_secs_f64(1.0 / APP_QUOTES_PER_SECOND));
    }

    #[test]
    fn what_an_app_waits_for_is_bounded() {
        let quotes = AppQuotes::default();
        let places: Vec<_> = (0..APP_EVIDENCE_WAITING_MAX)
            .map(|_| quotes.place().expect("a place"))
            .collect();
        let refused = quotes.place().expect_err("one too many");
        assert_eq!(refused.errno, Errno::RESOURCE_LIMITED);
        drop(places);
        assert!(quotes.place().is_ok());
    }
}
