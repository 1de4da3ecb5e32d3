//! What the apps of a worker share of it.
//!
//! One for all apps: an app that nothing is asked of is to cost little. What an app needs
//! of its own to run is made from it when the app needs it first. Owned by `Worker` and
//! by each `App`.

use std::path::PathBuf;
use std::sync::Arc;

use wapo_rpc::AppAddress;

use super::{Attester, Ports, Session};
use crate::blobs::BlobFolder;
use crate::boot_data::BootData;
use crate::config::{Config, LogSink};
use crate::data_dir::{DataDir, Durability};
use crate::edge::Edge;
use crate::error::StartError;
use crate::identity::Identity;
use crate::quotas::WorkerQuotas;
use crate::store::KeyVersions;

/// The worker as its apps need it.
pub(crate) struct AppContext {
    pub(super) identity: Arc<Identity>,
    pub(super) attester: Arc<Attester>,
    pub(super) session: Arc<Session>,
    pub(super) ports: Arc<Ports>,
    pub(super) edge: Arc<Edge>,
    pub(super) blobs: BlobFolder,
    pub(super) boot_data_dir: PathBuf,
    pub(super) durability: Durability,
    pub(super) log_sink: Option<LogSink>,
    pub(super) quotas: Arc<WorkerQuotas>,
}

impl AppContext {
    /// Starts what makes quotes, and takes the folders of the data.
    ///
    /// # Errors
    ///
    /// [`StartError::Attestation`]
    pub(super) fn new(
        config: &Config,
        data: &DataDir,
        (identity, session, keys): (Arc<Identity>, Arc<Session>, KeyVersions),
        edge: Arc<Edge>,
    ) -> Result<Self, StartError> {
        let collateral = Some(data.collateral_file());
        let attester = Attester::start(config, &identity, &session, keys, collateral)?;
        let blobs = BlobFolder::new(data.blobs(), config.blob_dir.clone());
        Ok(Self {
            identity,
            attester: Arc::new(attester),
            session,
            ports: Arc::default(),
            edge,
            blobs: blobs.with_durability(data.durability()),
            boot_data_dir: data.blobs(),
            durability: data.durability(),
            log_sink: config.log_sink.clone(),
            quotas: Arc::new(WorkerQuotas::new(config.quotas, &config.worker_quotas)),
        })
    }

    /// The record that an app may leave on disk.
    pub(super) fn boot_data(&self, address: AppAddress) -> BootData {
        BootData::new(&self.boot_data_dir, address, self.durability)
    }
}
