//! Evidence from a worker that runs: from its user port, which needs no token, or
//! from the admin port of the profile.
//!
//! With a nonce that was drawn for this call, unless the caller brings one or takes what
//! the worker has: only a nonce proves that the host does not show what it kept.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use parity_scale_codec::Decode;
use wapo_rpc::client::UserClient;
use wapo_rpc::message::{AppEvidenceArgs, WorkerEvidenceArgs};
use wapo_rpc::{AppAddress, statement};

use super::demands::Demanded;
use super::files::write_evidence;
use crate::apps;
use crate::terminal::Terminal;
use crate::worker::{self, Common, block_on};

/// Options for evidence from a worker.
#[derive(Args, Debug, Default)]
pub(crate) struct Live {
    /// Ask the user port of a worker at this URL, which needs no token, in place of the
    /// admin port. With --profile, that one's `ca_file` is trusted.
    #[arg(long, value_name = "URL", conflicts_with_all = ["worker", "token", "token_file"])]
    url: Option<String>,

    /// Take the evidence that the worker has, in place of one made for this call.
    #[arg(long)]
    cached: bool,

    /// Write what the worker gives into a file, for --evidence.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

impl Live {
    /// The nonce for this call; none where what the worker has will do.
    fn nonce(&self, demanded: &mut Demanded) -> Result<Vec<u8>> {
        match self.cached {
            true => Ok(demanded.nonce.clone().unwrap_or_default()),
            false => demanded.nonce_or_drawn(),
        }
    }

    /// Evidence of the worker.
    ///
    /// # Errors
    ///
    /// The worker cannot be reached, or has none.
    pub(super) fn worker<T: Decode>(
        &self,
        common: &Common,
        demanded: &mut Demanded,
        terminal: &Terminal,
        kind: &str,
    ) -> Result<T> {
        let args = WorkerEvidenceArgs {
            nonce: self.nonce(demanded)?,
        };
        let evidence = match &self.url {
            Some(url) => {
                let client = user_client(url, common)?;
                block_on(async { Ok(client.worker_evidence(args).await?) })?
            }
            None => worker::run(common, terminal, async |session| {
                Ok(session.client.worker_evidence(args).await?)
            })?,
        };
        self.read(&evidence.evidence, kind)
    }

    /// Evidence of an app, by what people call it; by its address at a user port. Also the
    /// address that was asked for: the worker may answer with another app of its own.
    ///
    /// # Errors
    ///
    /// As [`worker`](Self::worker), or there is no such app.
    pub(super) fn app<T: Decode>(
        &self,
        app: &str,
        common: &Common,
        demanded: &mut Demanded,
        terminal: &Terminal,
        kind: &str,
    ) -> Result<(AppAddress, T)> {
        let nonce = self.nonce(demanded)?;
        let args = |address: AppAddress| AppEvidenceArgs {
            address: address.0.to_vec(),
            nonce,
        };
        let (address, evidence) = match &self.url {
            Some(url) => {
                let address = whole_address(app)?;
                let client = user_client(url, common)?;
                let evidence = block_on(async { Ok(client.app_evidence(args(address)).await?) })?;
                (address, evidence)
            }
            None => worker::run(common, terminal, async |session| {
                let address = apps::find(&session.client, app).await?.address;
                let evidence = session.client.app_evidence(args(address)).await?;
                Ok((address, evidence))
            })?,
        };
        Ok((address, self.read(&evidence.evidence, kind)?))
    }

    fn read<T: Decode>(&self, encoded: &[u8], kind: &str) -> Result<T> {
        let evidence = statement::decode(encoded);
        let evidence = evidence.context("the worker gives no evidence that can be read")?;
        if let Some(file) = &self.save {
            write_evidence(file, kind, encoded)?;
        }
        Ok(evidence)
    }
}

/// The user port at a URL of the command line.
///
/// # Errors
///
/// The URL is none, or its certificates cannot be read.
pub(crate) fn user_client(url: &str, common: &Common) -> Result<UserClient> {
    let trusted = common.trusted()?;
    Ok(UserClient::with_trust(url, trusted.as_ref())?)
}

/// The address of an app that is named to a user port.
///
/// # Errors
///
/// It is not the whole address.
pub(crate) fn whole_address(app: &str) -> Result<AppAddress> {
    let address = app.parse().ok().or_else(|| AppAddress::from_base32(app));
    address.context("with --url the app is named by its whole address")
}
