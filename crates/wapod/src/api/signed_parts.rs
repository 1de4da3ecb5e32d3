//! What the signature of an answer needs of those that pass on the request and the
//! answer: the digest of the request's body, and whose word the answer is.
//!
//! Noted by `request_body`, the gateway and the calls; read by `signed_answer`.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hyper::Response;
use sha2::{Digest as _, Sha256};
use wapo_rpc::signed_answer;

use crate::worker::App;

/// A mark on an answer: what it says is the word of this app, which is not the app
/// that has the address by now.
#[derive(Clone)]
pub(super) struct AnsweredBy(pub(super) Arc<App>);

impl AnsweredBy {
    pub(super) fn mark<T>(self, response: &mut Response<T>) {
        response.extensions_mut().insert(self);
    }
}

/// The digest of a request's body, as far as it was read.
#[derive(Default)]
pub(crate) struct BodyDigest(Mutex<(Sha256, bool)>);

impl BodyDigest {
    /// Takes in what was read.
    pub(super) fn note(&self, data: Option<&Bytes>, is_end: bool) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(data) = data {
            state.0.update(data);
        }
        state.1 |= is_end;
    }

    /// Whether the whole body was read, and this is the field of its digest.
    pub(super) fn is(&self, field: &str) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let digest: [u8; 32] = state.0.clone().finalize().into();
        state.1 && signed_answer::digest_field(digest) == field.trim()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_counts_when_the_whole_body_was_read() {
        let field = signed_answer::content_digest(b"ab");
        let digest = BodyDigest::default();
        digest.note(Some(&Bytes::from_static(b"a")), false);
        digest.note(Some(&Bytes::from_static(b"b")), false);
        assert!(!digest.is(&field), "more may come");
        digest.note(None, true);
        assert!(digest.is(&field));
        assert!(!digest.is(&signed_answer::content_digest(b"abc")));
    }
}
