//! What goes into a quote of the enclave: 64 bytes that say what it attests.
//!
//! A hash of 32 bytes, then zeros. Obtaining the quote is the daemon's work. The
//! form for registrations uses a hash of its own; the others start with a
//! content type, and that for apps goes on with the app's address, so no app can
//! have the worker's registration, its claims or a request for a key attested. Called by `wapod`, and
//! by verifiers.

use crate::content_type::ContentType;
use crate::hash::{blake2b_256, keccak_256};

/// Bytes of an enclave's report data.
pub const REPORT_DATA_BYTES: usize = 64;

/// For data that an app wants attested, as its own.
pub fn for_app(app_address: &[u8; 32], data: &[u8]) -> [u8; REPORT_DATA_BYTES] {
    let message = [app_address.as_slice(), data].concat();
    padded(keccak_256(&ContentType::AppData.wrap(&message)))
}

/// For the worker's claims about itself, given in their encoded form.
pub fn for_worker_claims(encoded_claims: &[u8]) -> [u8; REPORT_DATA_BYTES] {
    padded(keccak_256(
        &ContentType::WorkerEvidence.wrap(encoded_claims),
    ))
}

/// For the claims of a worker that asks another one for its key, given in their encoded
/// form.
pub fn for_key_request(encoded_claims: &[u8]) -> [u8; REPORT_DATA_BYTES] {
    padded(keccak_256(&ContentType::KeyHandover.wrap(encoded_claims)))
}

/// For the worker's registration, given in its encoded form.
pub fn for_registration(encoded_info: &[u8]) -> [u8; REPORT_DATA_BYTES] {
    padded(blake2b_256(encoded_info))
}

fn padded(hash: [u8; 32]) -> [u8; REPORT_DATA_BYTES] {
    let mut data = [0; REPORT_DATA_BYTES];
    data[..32].copy_from_slice(&hash);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_for_apps_are_those_of_existing_workers() {
        let hash = "8db4c59a661ebd009a8a0f8d22c18648e2636e989047c11f51a3427d193bef85";
        let expected = format!("{hash}{}", "00".repeat(32));
        assert_eq!(hex::encode(for_app(&[1; 32], b"x")), expected);
    }

    #[test]
    fn quotes_for_claims_are_of_a_kind_of_their_own() {
        let hash = "d1865b41147bfdb0f8dd37c579859e07c1be89bb1c903a96f6bfa943f1a7086d";
        let expected = format!("{hash}{}", "00".repeat(32));
        assert_eq!(hex::encode(for_worker_claims(b"x")), expected);
        let claims = [1; 64];
        assert_ne!(for_worker_claims(&claims), for_app(&[1; 32], &[1; 32]));
        assert_ne!(for_worker_claims(&claims), for_registration(&claims));
        let request = for_key_request(&claims);
        assert_ne!(request, for_worker_claims(&claims));
        assert_ne!(request, for_app(&[1; 32], &[1; 32]));
        assert_ne!(request, for_registration(&claims));
    }

    #[test]
    fn an_app_cannot_have_a_registration_attested() {
        let info = [1; 64];
        let by_app = for_app(&[1; 32], &[1; 32]);
        assert_ne!(by_app, for_registration(&info));
        assert_ne!(for_app(&[1; 32], b"x"), for_app(&[2; 32], b"x"));
    }
}
