//! Queries to an app, and its answers.
//!
//! Checks a query and its signature, finds the app, waits for the answer with a
//! limit. Called by `api` with decoded arguments.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use wapo_crypto::envelope;
use wapo_crypto::private_query::{self, AnswerSecret, PrivateQueryError};
use wapo_crypto::query_signature::{self, Account, SignableQuery};
use wapo_host::RequestError;
use wapo_rpc::message::{EncryptedQueryArgs, PrivateQueryArgs};
use wapo_rpc::{AppAddress, Encoding, QueryArgs};

use super::{App, Channel, Worker, unix_s};
use crate::error::WorkerError;
use crate::limits::QUERY_BYTES_MAX_DEFAULT;

/// A query that was checked and not asked yet.
pub(crate) struct Query {
    app: Arc<App>,
    origin: Option<Account>,
    path: String,
    payload: Vec<u8>,
    /// Whether no app that has taken the place of this one may answer: the question was
    /// encrypted after evidence of this one.
    is_for_it_alone: bool,
}

/// What an app has answered.
pub(crate) struct Answered {
    /// Who: the app that was asked, or the one that has taken its place.
    pub(crate) app: Arc<App>,
    /// The answer, or the app's words for why there is none.
    pub(crate) outcome: Result<Bytes, String>,
}

impl Worker {
    /// Checks a query and who signed it, which takes time for each byte.
    ///
    /// # Errors
    ///
    /// [`WorkerError`].
    pub(crate) fn check_query(&self, args: QueryArgs) -> Result<Query, WorkerError> {
        let address = AppAddress::from_bytes(&args.address)?;
        let app = self.app(&address);
        let max = app
            .as_ref()
            .map_or(QUERY_BYTES_MAX_DEFAULT, |app| app.manifest.max_query_size);
        let bytes = args.path.len() + args.payload.len();
        if bytes > max as usize {
            return Err(match app {
                Some(_) => WorkerError::QueryTooLarge { max },
                None => WorkerError::AppNotFound,
            });
        }
        let signed = SignableQuery {
            address: &args.address,
            path: &args.path,
            payload: &args.payload,
        };
        let origin = query_signature::verify(&signed, &args.encoded_signature, unix_s())?;
        Ok(Query {
            app: app.ok_or(WorkerError::AppNotFound)?,
            origin,
            path: args.path,
            payload: args.payload,
            is_for_it_alone: false,
        })
    }

    /// Opens a query that was encrypted for this worker, and checks it.
    ///
    /// # Errors
    ///
    /// As [`check_query`](Self::check_query), and when it cannot be opened.
    pub(crate) fn open_query(&self, args: &EncryptedQueryArgs) -> Result<Query, WorkerError> {
        let opened = envelope::open(self.identity.key(), &args.pubkey, &args.encrypted_payload)?;
        self.check_encoded(&opened)
    }

    fn check_encoded(&self, query: &[u8]) -> Result<Query, WorkerError> {
        let args = Encoding::Protobuf
            .decode(query)
            .map_err(|_| WorkerError::BadEnvelope("failed to decode the query args".to_owned()))?;
        self.check_query(args)
    }

    /// Opens a private query and checks it; what is wrong with the query itself is told
    /// within the encrypted answer.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub(crate) fn open_private_query(
        &self,
        args: &PrivateQueryArgs,
    ) -> Result<(Result<Query, WorkerError>, AnswerSecret), WorkerError> {
        let closed = |error: PrivateQueryError| WorkerError::BadEnvelope(error.to_string());
        // Old versions stay readable; those to come are not made in advance.
        if !(1..=self.attester.keys().worker()).contains(&args.key_version) {
            return Err(closed(PrivateQueryError::Query));
        }
        let key = self.identity.query_key(args.key_version);
        let binding = args.binding(self.session.id());
        let (encapsulated, ciphertext) = (&args.encapsulated, &args.ciphertext);
        let opened = private_query::open(&key, &binding, encapsulated, ciphertext);
        let (query, secret) = opened.map_err(closed)?;
        let checked = self.check_encoded(&query).map(|query| Query {
            is_for_it_alone: true,
            ..query
        });
        Ok((checked, secret))
    }

    /// Asks an app.
    ///
    /// # Errors
    ///
    /// [`WorkerError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the answer; the app may have seen the question.
    pub(crate) async fn query(self: &Arc<Self>, query: Query) -> Result<Answered, WorkerError> {
        let mut lease = match query.is_for_it_alone {
            true => self.admit_itself(query.app, Channel::Query).await?,
            false => self.admit(query.app, Channel::Query).await?,
        };
        let begun = Instant::now();
        let origin = query.origin.map(|account| account.0);
        let asked = lease.query(origin, query.path, query.payload);
        let answer = tokio::time::timeout(self.limits.query_time, asked).await;
        let answer = answer.map_err(|_| WorkerError::Timeout)?;
        let app = Arc::clone(lease.app());
        app.latency().observe(begun.elapsed());
        let outcome = match answer {
            Ok(output) => Ok(output),
            Err(RequestError::App(text)) => Err(text),
            Err(error) => return Err(error.into()),
        };
        Ok(Answered { app, outcome })
    }
}
