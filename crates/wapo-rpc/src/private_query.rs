//! Private queries, from the sender's side: sealed for the worker in its evidence.
//!
//! No I/O, no clock and no randomness. The worker's side is `wapo_crypto::private_query`.
//! Whether evidence can be believed is for `wapo_verify::worker` to say, before a query is
//! sealed with it. Called by the command, by programs that ask apps, and by tests.

use parity_scale_codec::{Decode, DecodeAll as _, Encode};
use wapo_crypto::private_query::{self, AnswerSecret, Binding, PrivateQueryError};

use crate::Encoding;
use crate::message::{PrivateQueryArgs, PrivateQueryResponse, QueryArgs};
use crate::statement::WorkerClaims;

/// What is in the answer to a private query: who says it, and what.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "derived code narrows the index"
)]
pub enum PrivateAnswer {
    /// What the app answered.
    #[codec(index = 0)]
    Output(Vec<u8>),
    /// What is wrong, in the app's words.
    #[codec(index = 1)]
    AppError(String),
    /// Why the app was not asked or has not answered, in the worker's words.
    #[codec(index = 2)]
    WorkerError(String),
}

/// Reads the answer to one query.
pub struct AnswerReader(AnswerSecret);

impl AnswerReader {
    /// Decrypts the answer.
    ///
    /// # Errors
    ///
    /// [`PrivateQueryError::Answer`] if it is not one to this query.
    pub fn read(&self, answer: &PrivateQueryResponse) -> Result<PrivateAnswer, PrivateQueryError> {
        let opened = self.0.open(&answer.nonce, &answer.ciphertext)?;
        PrivateAnswer::decode_all(&mut opened.as_slice()).map_err(|_| PrivateQueryError::Answer)
    }
}

impl PrivateQueryArgs {
    /// Encrypts a query for the worker with these claims, at this time in seconds since
    /// 1970.
    ///
    /// `seed` are random bytes, new for each query and forgotten afterwards: a holder of
    /// them can read the query and its answer.
    ///
    /// # Errors
    ///
    /// [`PrivateQueryError::PublicKey`] when the key in the claims is not valid.
    pub fn seal(
        query: &QueryArgs,
        worker: &WorkerClaims,
        time: u64,
        seed: &[u8; 32],
    ) -> Result<(Self, AnswerReader), PrivateQueryError> {
        let binding = Binding {
            session: worker.session,
            key_version: worker.key_version,
            time_s: time,
        };
        let query = Encoding::Protobuf.encode(query);
        let (sealed, secret) = private_query::seal(&worker.query_pubkey, &binding, &query, seed)?;
        let args = Self {
            key_version: worker.key_version,
            time,
            encapsulated: sealed.encapsulated.to_vec(),
            ciphertext: sealed.ciphertext,
        };
        Ok((args, AnswerReader(secret)))
    }

    /// What it is bound to in a session of the worker.
    pub fn binding(&self, session: [u8; 32]) -> Binding {
        Binding {
            session,
            key_version: self.key_version,
            time_s: self.time,
        }
    }
}
