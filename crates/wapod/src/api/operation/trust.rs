//! Calls about what the worker can prove, and about its keys.
//!
//! Part of the operator's calls; the rows of the schema name these functions.

use wapo_rpc::message::{
    AppEvidenceArgs, Evidence, KeyHandoverArgs, KeyHandoverResponse, RotateKeysArgs,
    RotateKeysResponse, WorkerEvidenceArgs,
};

use super::operator::{Fault, Operator, address_or_none};
use crate::api::evidence;
use crate::attestation::Asker;

impl Operator {
    pub(super) async fn rotate_keys(
        &self,
        args: RotateKeysArgs,
    ) -> Result<RotateKeysResponse, Fault> {
        let app = address_or_none(&args.address)?;
        let key_version = self.worker.rotate_keys(app).await?;
        Ok(RotateKeysResponse { key_version })
    }

    pub(super) async fn worker_evidence(
        &self,
        args: WorkerEvidenceArgs,
    ) -> Result<Evidence, Fault> {
        Ok(evidence::worker(&self.worker, args, Asker::Worker).await?)
    }

    pub(super) async fn app_evidence(&self, args: AppEvidenceArgs) -> Result<Evidence, Fault> {
        Ok(evidence::app(&self.worker, args, Asker::Worker).await?)
    }

    pub(super) async fn key_handover(
        &self,
        args: KeyHandoverArgs,
    ) -> Result<KeyHandoverResponse, Fault> {
        let mut response = KeyHandoverResponse::default();
        if args.request.is_empty() {
            response.nonce = self.worker.handover_nonce()?.to_vec();
        } else {
            response.handover = self.worker.hand_over(&args.request).await?;
        }
        Ok(response)
    }
}
