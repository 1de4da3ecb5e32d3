//! Questions to an app and its answers.
//!
//! Checks a query and who signed it, finds the app, waits for the answer with a
//! limit. Called by `api` with decoded arguments.

use std::sync::Arc;
use std::time::Instant;

use wapo_crypto::envelope;
use wapo_crypto::query_signature::{self, SignableQuery};
use wapo_rpc::message::EncryptedQueryArgs;
use wapo_rpc::{AppAddress, Encoding, QueryArgs};

use super::{Channel, Worker, unix_ms};
use crate::error::WorkerError;
use crate::limits::QUERY_TIMEOUT;

impl Worker {
    /// Asks an app.
    ///
    /// # Errors
    ///
    /// [`WorkerError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the answer; the app may have seen the question.
    pub(crate) async fn query(self: &Arc<Self>, args: QueryArgs) -> Result<Vec<u8>, WorkerError> {
        let address = AppAddress::from_bytes(&args.address)?;
        let signed = SignableQuery {
            address: &args.address,
            path: &args.path,
            payload: &args.payload,
        };
        let origin = query_signature::verify(&signed, &args.encoded_signature, unix_ms() / 1000)?;
        let app = self.app(&address).ok_or(WorkerError::AppNotFound)?;
        let max = app.manifest.max_query_size;
        let bytes = args.path.len() + args.payload.len();
        if bytes > max as usize {
            return Err(WorkerError::QueryTooLarge { max });
        }
        let lease = self.admit(app, Channel::Query).await?;
        let asked = lease.instance().handle().query(
            origin.map(|account| account.0),
            args.path,
            args.payload,
        );
        let begun = Instant::now();
        let answer = tokio::time::timeout(QUERY_TIMEOUT, asked).await;
        let answer = answer.map_err(|_| WorkerError::Timeout)?;
        lease.app().latency.observe(begun.elapsed());
        Ok(answer?)
    }

    /// Opens a query that was encrypted for this worker, and asks.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query), and when it cannot be opened.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub(crate) async fn encrypted_query(
        self: &Arc<Self>,
        args: EncryptedQueryArgs,
    ) -> Result<Vec<u8>, WorkerError> {
        let opened = envelope::open(self.identity.key(), &args.pubkey, &args.encrypted_payload)?;
        let args: QueryArgs = Encoding::Protobuf
            .decode(&opened)
            .map_err(|_| WorkerError::BadEnvelope("failed to decode the query args".to_owned()))?;
        self.query(args).await
    }
}
