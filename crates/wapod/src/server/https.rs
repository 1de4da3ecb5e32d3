//! TLS of the daemon's own ports, as the configuration has it. Called by the parent module
//! at the start; what happens on a connection is in `api::https`.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::acme::{Acme, Proofs};
use crate::api::Https;
use crate::config::Config;
use crate::error::StartError;
use crate::tls_files::{FileCertificate, TlsFiles};
use crate::worker::Worker;

/// TLS of the ports that speak it.
pub(super) struct PortsHttps {
    pub(super) user: Option<Arc<Https>>,
    pub(super) admin: Option<Arc<Https>>,
    /// Certificate of the TLS port, for names that apps leave to the gateway.
    pub(super) tls: Option<Arc<FileCertificate>>,
}

impl PortsHttps {
    /// Reads their certificates.
    ///
    /// # Errors
    ///
    /// [`StartError::Tls`]
    pub(super) async fn open(config: &Config) -> Result<Self, StartError> {
        Ok(Self {
            user: https("user", config.user_tls.clone()).await?,
            admin: https("admin", config.admin_tls.clone()).await?,
            tls: match config.tls.as_ref().and_then(|tls| tls.certificate.clone()) {
                Some(files) => Some(certificate("tls", files).await?),
                None => None,
            },
        })
    }

    pub(super) fn all(&self) -> Vec<Arc<Https>> {
        self.user.iter().chain(&self.admin).cloned().collect()
    }

    /// How URLs of the user port begin.
    pub(super) fn user_scheme(&self) -> &'static str {
        scheme(&self.user)
    }

    /// How URLs of the admin port begin.
    pub(super) fn admin_scheme(&self) -> &'static str {
        scheme(&self.admin)
    }
}

impl Config {
    /// Whether strangers could get at the operator's interface.
    ///
    /// # Errors
    ///
    /// [`StartError::OpenAdmin`], [`StartError::PlainAdmin`]
    pub fn check_admin(&self) -> Result<(), StartError> {
        match self.admin_address {
            Some(admin) if admin.ip().is_loopback() => Ok(()),
            Some(admin) if self.admin_token.is_none() => Err(StartError::OpenAdmin(admin)),
            Some(admin) if self.admin_tls.is_none() => Err(StartError::PlainAdmin(admin)),
            _ => Ok(()),
        }
    }
}

/// Begins to get certificates, if that is wanted. What works on it ends with the value.
///
/// # Errors
///
/// [`StartError::Acme`]
pub(super) async fn start_acme(
    config: &Config,
    worker: &Arc<Worker>,
) -> Result<Option<(Arc<Acme>, JoinSet<()>)>, StartError> {
    let (Some(settings), Some(data_dir)) = (&config.acme, &config.data_dir) else {
        return Ok(None);
    };
    let proofs = Proofs {
        http: config.user_tls.is_none(),
        tls: config.tls.is_some(),
    };
    let certificates = Arc::clone(worker.edge.certificates());
    let (app_names, of) = (settings.app_names, Arc::downgrade(worker));
    let wanted = Box::new(move || {
        let worker = of.upgrade();
        worker.map_or_else(BTreeSet::new, |worker| worker.certifiable_names(app_names))
    });
    let (settings, data_dir) = (settings.clone(), data_dir.clone());
    let opening = tokio::task::spawn_blocking(move || {
        Acme::open(settings, proofs, data_dir, certificates, wanted)
    });
    let opened = opening.await.map_err(|error| error.to_string());
    let acme = opened.flatten().map_err(StartError::Acme)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&acme).run());
    Ok(Some((acme, tasks)))
}

fn scheme(https: &Option<Arc<Https>>) -> &'static str {
    match https {
        Some(_) => "https",
        None => "http",
    }
}

/// Reads the certificate of a port.
async fn https(
    port: &'static str,
    files: Option<TlsFiles>,
) -> Result<Option<Arc<Https>>, StartError> {
    let Some(files) = files else {
        return Ok(None);
    };
    let certificate = certificate(port, files).await?;
    let https = Https::new(certificate).map_err(|reason| StartError::Tls { port, reason })?;
    Ok(Some(Arc::new(https)))
}

async fn certificate(
    port: &'static str,
    files: TlsFiles,
) -> Result<Arc<FileCertificate>, StartError> {
    let opening = tokio::task::spawn_blocking(move || FileCertificate::open(port, files));
    let opened = opening.await.map_err(|error| error.to_string());
    let opened = opened.flatten().map(Arc::new);
    opened.map_err(|reason| StartError::Tls { port, reason })
}
