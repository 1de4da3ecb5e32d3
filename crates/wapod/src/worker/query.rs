//! Questions to an app and its answers.
//!
//! Checks a query, finds the app, waits for the answer with a limit. Called by
//! `api::user` with decoded arguments.

use wapo_rpc::{AppAddress, QueryArgs};

use super::{Channel, Worker};
use crate::error::WorkerError;
use crate::limits::QUERY_TIMEOUT;

/// An absent signature, written as an optional value.
const NO_SIGNATURE: &[u8] = &[0];

impl Worker {
    /// Asks an app.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the answer; the app may have seen the question.
    pub(crate) async fn query(&self, args: QueryArgs) -> Result<Vec<u8>, WorkerError> {
        let address = AppAddress::from_bytes(&args.address)?;
        if !args.encoded_signature.is_empty() && args.encoded_signature != NO_SIGNATURE {
            // Ignoring it would show the app an unsigned query in its place.
            return Err(WorkerError::SignedQuery);
        }
        let app = self.app(&address).ok_or(WorkerError::AppNotFound)?;
        let max = app.query_max_bytes;
        let bytes = args.path.len() + args.payload.len();
        if u32::try_from(bytes).is_ok_and(|bytes| bytes > max) || bytes > u32::MAX as usize {
            return Err(WorkerError::QueryTooLarge { max });
        }
        let lease = self.admit(app, Channel::Query).await?;
        let asked = lease.app().instance().query(None, args.path, args.payload);
        match tokio::time::timeout(QUERY_TIMEOUT, asked).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(WorkerError::Timeout),
        }
    }
}
