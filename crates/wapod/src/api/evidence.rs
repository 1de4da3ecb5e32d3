//! Calls for evidence, which everyone may make and the operator has as well.
//!
//! The cost of a call to the worker is bounded for each kind of requester
//! (`attestation`); evidence without a nonce is there already.

use parity_scale_codec::Encode as _;
use wapo_rpc::message::{AppEvidenceArgs, Evidence, WorkerEvidenceArgs};
use wapo_rpc::{AddressError, AppAddress};

use crate::attestation::Asker;
use crate::error::WorkerError;
use crate::worker::{EvidenceError, Worker};

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoEvidence {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    App(#[from] WorkerError),
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

/// Evidence of the worker.
pub(super) async fn worker(
    worker: &Worker,
    args: WorkerEvidenceArgs,
    asker: Asker,
) -> Result<Evidence, NoEvidence> {
    let made = worker.attester.worker_evidence(args.nonce, asker).await?;
    let evidence = made.evidence.encode();
    Ok(Evidence { evidence })
}

/// Evidence of an app.
pub(super) async fn app(
    worker: &Worker,
    args: AppEvidenceArgs,
    asker: Asker,
) -> Result<Evidence, NoEvidence> {
    let address = AppAddress::from_bytes(&args.address)?;
    let app = worker.app(&address).ok_or(WorkerError::AppNotFound)?;
    let made = worker
        .attester
        .app_evidence(&app, args.nonce, asker)
        .await?;
    let evidence = made.encode();
    Ok(Evidence { evidence })
}
