//! What the worker signs: its session, where it is reached, what it offers and what apps
//! have used. What it says unsigned is in `info`.
//!
//! A statement is made from the present state and signed with its content type;
//! usage is written down before it is signed. Called by `api` with
//! decoded arguments.

use std::sync::{Arc, PoisonError};

use parity_scale_codec::Encode as _;
use wapo_rpc::limits::METRICS_APPS_MAX;
use wapo_rpc::message::{
    AppMetricsResponse, InitArgs, InitResponse, SignEndpointsResponse, SignRegisterInfoArgs,
    SignRegisterInfoResponse, SignWorkerDescriptionArgs, SignWorkerDescriptionResponse,
};
use wapo_rpc::statement::{
    self, AppMetrics, AttestationReport, MetricsToken, Prices, SessionUpdate,
    SignedWorkerDescription, Statement, VersionedAppsMetrics, WorkerDescription,
    WorkerEndpointPayload, WorkerRegistrationInfoV2,
};
use wapo_rpc::{AppAddress, ss58};

use super::chain::Scope;
use super::reports;
use super::session::record_of;
use super::usage::UsageReading;
use super::{Worker, unix_ms};
use crate::error::AppError;
use crate::limits::ENDPOINTS_MAX;
use crate::store::{BenchRecord, Change};

impl Worker {
    /// Begins a new session.
    ///
    /// # Errors
    ///
    /// [`AppError`] when it may not begin or cannot be written down.
    pub(crate) async fn init(&self, args: InitArgs) -> Result<InitResponse, AppError> {
        let recipient = match args.recipient.as_str() {
            "" => None,
            text => {
                let account = ss58::decode(text);
                let refused = |error| AppError::Refused(format!("invalid account: {error}"));
                Some(account.map_err(refused)?)
            }
        };
        let update = SessionUpdate::new(rand::random(), &args.pnonce, recipient);
        let too_long = |_| AppError::Refused("the salt is too long".to_owned());
        let update = update.map_err(too_long)?;
        if !self.all_apps().is_empty() {
            let text = "init session failed, apps already deployed: remove them first";
            return Err(AppError::Refused(text.to_owned()));
        }
        // The last statements about them belong to the session that ends.
        let mut chain = self.chain.lock().await;
        let departed = self.departed_and_billed(&mut chain, Scope::All, 0).await?;
        let forget = departed.iter().copied().map(Change::RemoveDeparted);
        let record = record_of(&update, args.pnonce);
        self.session.replace(record, forget.collect()).await?;
        self.drop_departed(&departed);
        // What is not known any more need not be remembered.
        *chain = None;
        drop(chain);
        let (session_update, signature) = self.sign(&update);
        Ok(InitResponse {
            session_update,
            signature,
            pubkey: self.identity.public_key().to_vec(),
        })
    }

    /// What a chain needs to know to register the worker.
    ///
    /// # Errors
    ///
    /// [`AppError::Refused`] for arguments that cannot be read.
    pub(crate) async fn register_info(
        &self,
        args: &SignRegisterInfoArgs,
    ) -> Result<SignRegisterInfoResponse, AppError> {
        let genesis: [u8; 32] = read("genesis_block_hash", &args.genesis_block_hash)?;
        let operator: Option<[u8; 32]> = read("operator", &args.operator)?;
        let info = WorkerRegistrationInfoV2::new(
            self.identity.public_key(),
            genesis,
            operator,
            args.para_id,
        );
        let encoded_runtime_info = info.encode();
        let report: Option<AttestationReport> =
            self.attester.registration(&encoded_runtime_info).await;
        Ok(SignRegisterInfoResponse {
            encoded_runtime_info,
            encoded_report: report.encode(),
        })
    }

    /// Signs where the worker is reached.
    ///
    /// # Errors
    ///
    /// [`AppError::Refused`] for too many.
    pub(crate) fn sign_endpoints(
        &self,
        endpoints: Vec<String>,
    ) -> Result<SignEndpointsResponse, AppError> {
        if endpoints.len() > ENDPOINTS_MAX {
            let text = format!("{} endpoints, at most {ENDPOINTS_MAX}", endpoints.len());
            return Err(AppError::Refused(text));
        }
        let payload = WorkerEndpointPayload::new(self.identity.public_key(), endpoints, unix_ms());
        let (encoded_endpoint_payload, signature) = self.sign(&payload);
        Ok(SignEndpointsResponse {
            encoded_endpoint_payload,
            signature,
        })
    }

    /// Signs what the worker offers, and for how much.
    ///
    /// # Errors
    ///
    /// [`AppError::Refused`] for arguments that cannot be read or are too long.
    pub(crate) fn sign_description(
        &self,
        args: SignWorkerDescriptionArgs,
    ) -> Result<SignWorkerDescriptionResponse, AppError> {
        let prices: Prices = read("prices", &args.prices)?;
        let refused = |error: statement::TooLong| AppError::Refused(error.to_string());
        let worker_description =
            WorkerDescription::new(prices, args.description).map_err(refused)?;
        let (_, signature) = self.sign(&worker_description);
        let signed = SignedWorkerDescription {
            worker_description,
            signature: statement::Signature::new(signature).map_err(refused)?,
            worker_pubkey: self.identity.public_key(),
        };
        Ok(SignWorkerDescriptionResponse {
            encoded_signed_description: signed.encode(),
        })
    }

    /// What apps have used, signed: those that are named, or a page of all.
    ///
    /// # Errors
    ///
    /// [`AppError`] for bad addresses, too many of them, or a store that cannot
    /// be written.
    pub(crate) async fn metrics(
        &self,
        addresses: &[AppAddress],
        cursor: u64,
    ) -> Result<AppMetricsResponse, AppError> {
        if addresses.len() > METRICS_APPS_MAX {
            let text = format!(
                "{} apps in one report, at most {METRICS_APPS_MAX}: ask in parts",
                addresses.len()
            );
            return Err(AppError::Refused(text));
        }
        let (readings, next) = self.settle(addresses, cursor).await?;
        let token = self.session.token_or_wait().await?;
        let token = MetricsToken {
            sn: token.sn,
            session: token.session,
            nonce: token.nonce,
        };
        let apps = readings.iter().map(app_metrics).collect();
        let report = VersionedAppsMetrics::new(token, apps)
            .map_err(|error| AppError::Refused(error.to_string()))?;
        let (encoded_metrics, signature) = self.sign(&report);
        Ok(AppMetricsResponse {
            encoded_metrics,
            signature,
            next_cursor: next.unwrap_or_default(),
        })
    }

    /// Says which app measures the worker, and resizes it.
    ///
    /// # Errors
    ///
    /// [`AppError`].
    pub(crate) async fn set_bench(
        self: &Arc<Self>,
        address: Option<AppAddress>,
        instances: u64,
    ) -> Result<(), AppError> {
        let record = BenchRecord {
            address: address.map(|address| address.0),
            instances,
        };
        self.store.commit(vec![Change::PutBench(record)]).await?;
        *self.bench.lock().unwrap_or_else(PoisonError::into_inner) = record;
        if let Some(address) = address {
            let count = u32::try_from(instances).unwrap_or(u32::MAX);
            self.resize(address, count).await?;
        }
        Ok(())
    }

    /// The bytes of a statement and their signature.
    fn sign<S: Statement>(&self, statement: &S) -> (Vec<u8>, Vec<u8>) {
        let encoded = statement.encode();
        let signature = self.identity.sign(S::CONTENT_TYPE, &encoded);
        (encoded, signature)
    }
}

fn read<T: parity_scale_codec::Decode>(field: &str, bytes: &[u8]) -> Result<T, AppError> {
    statement::decode_prefix(bytes)
        .map_err(|error| AppError::Refused(format!("`{field}` cannot be read: {error}")))
}

/// A reading as the older statement has it.
fn app_metrics(reading: &UsageReading) -> AppMetrics {
    let totals = reports::totals(&reading.totals);
    AppMetrics {
        address: AppAddress(reading.address),
        session: reading.session,
        running_time_ms: totals.running_time_ms,
        gas_consumed: totals.gas_consumed,
        network_ingress: totals.network_ingress,
        network_egress: totals.network_egress,
        storage_read: totals.storage_read,
        storage_write: totals.storage_write,
        storage_used: totals.storage_used,
        memory_used: totals.memory_used,
        tip: totals.tip,
        starts: totals.starts,
    }
}
