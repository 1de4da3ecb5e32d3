//! Keys, signatures, sealing, attestation: bytes in, bytes out.
//!
//! What a worker signs, what it derives and encrypts, whose queries it believes,
//! and nothing else: no files, no sockets, no clock and no randomness of its own.
//! Seeds, nonces and the time are arguments, so that every result can be checked
//! against a test vector. Used by `wapod` (identity) and by `wapo-rpc` (hashes of
//! manifests, statements, encrypted queries).
//!
//! Read [`content_type`] first: it says how a signature made for one purpose is
//! kept from counting for another.

#![forbid(unsafe_code)]

mod aead;
pub mod content_type;
pub mod derived_keys;
pub mod envelope;
pub mod handover;
pub mod hash;
pub mod limits;
pub mod merkle;
pub mod private_query;
pub mod query_signature;
pub mod report_data;
pub mod sealed;
pub mod worker_key;
pub mod wrapped_key;

pub use content_type::ContentType;
pub use hash::blake2b_256;
pub use query_signature::{Account, QuerySignatureError, SignableQuery};
pub use worker_key::{
    KeyError, PublicKey, SECRET_BYTES, SIGNATURE_BYTES, WorkerKey, verify, verify_all,
};
