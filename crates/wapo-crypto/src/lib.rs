//! Keys and signatures of a worker: bytes in, bytes out.
//!
//! What a worker signs, what it derives for its apps, and nothing else: no
//! files, no sockets, no clock and no randomness of its own. Seeds are
//! arguments, so that every result can be checked against a test vector. Used
//! by `wapod` (identity) and by `wapo-rpc` (hashes of manifests).
//!
//! Read [`content_type`] first: it says how a signature made for one purpose is
//! kept from counting for another.

#![forbid(unsafe_code)]

pub mod content_type;
pub mod hash;
pub mod worker_key;

pub use content_type::ContentType;
pub use hash::blake2b_256;
pub use worker_key::{KeyError, PublicKey, SECRET_BYTES, SIGNATURE_BYTES, WorkerKey, verify};
