//! Signatures of answers at the user port.
//!
//! The worker signs what a call was answered with. What it says about requests
//! that are no calls, or about the state it is in, nobody verifies, and it would
//! sell a signature for each bad request; those few texts that answer calls
//! without the work of an app are signed once and remembered. Called by `mod`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::Response;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use wapo_crypto::ContentType;
use wapo_rpc::signed_answer::OLDER_SIGNATURE;

use super::body::Body;
use super::clients::{Heavy, TooBusy};
use crate::identity::Identity;
use crate::limits::{ANSWER_WAIT, AT_ONCE_BYTES_MAX, SIGNATURES_KEPT_MAX, SIGNED_BODY_BYTES_MAX};

/// What is signed of the answers; a mark on an answer. Without one it is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Signed {
    /// Each for itself.
    Each,
    /// One of few texts, whose signature is remembered.
    Once,
}

impl Signed {
    pub(super) fn mark(self, response: &mut Response<Body>) {
        response.extensions_mut().insert(self);
    }
}

/// Signatures of texts that do not change.
#[derive(Default)]
pub(super) struct Signatures(Mutex<HashMap<Bytes, HeaderValue>>);

impl Signatures {
    /// Signs the body of an answer that is marked.
    ///
    /// # Errors
    ///
    /// [`TooBusy`] when too many large answers wait for it.
    pub(super) async fn sign(
        &self,
        response: &mut Response<Body>,
        identity: &Arc<Identity>,
        heavy: &Heavy,
    ) -> Result<(), TooBusy> {
        let Some(mark) = response.extensions_mut().remove::<Signed>() else {
            return Ok(());
        };
        let Body::Full(content) = response.body() else {
            return Ok(());
        };
        let content = content.clone().unwrap_or_default();
        let value = match mark {
            Signed::Once => self.remembered(&content, identity),
            Signed::Each if content.len() <= AT_ONCE_BYTES_MAX => signature(identity, &content),
            Signed::Each if content.len() <= SIGNED_BODY_BYTES_MAX => {
                let identity = Arc::clone(identity);
                // What was asked has been done.
                let sign = move || signature(&identity, &content);
                heavy.run_within(ANSWER_WAIT, sign).await?
            }
            Signed::Each => None,
        };
        if let Some(value) = value {
            response.headers_mut().insert(OLDER_SIGNATURE, value);
        }
        Ok(())
    }

    fn remembered(&self, content: &Bytes, identity: &Identity) -> Option<HeaderValue> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = kept.get(content) {
            return Some(value.clone());
        }
        if kept.len() >= SIGNATURES_KEPT_MAX {
            return None;
        }
        let value = signature(identity, content)?;
        kept.insert(content.clone(), value.clone());
        Some(value)
    }
}

fn signature(identity: &Identity, content: &[u8]) -> Option<HeaderValue> {
    let signature = identity.sign(ContentType::RpcResponse, content);
    HeaderValue::try_from(hex::encode(signature)).ok()
}
