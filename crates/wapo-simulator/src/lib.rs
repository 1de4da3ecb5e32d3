//! Plays the hardware that attests: SGX quotes and their collateral under a root of
//! its own, which derives from a seed. Bytes in, bytes out.
//!
//! No hardware stands behind such a quote. Verifiers refuse it unless they are told
//! this root and asked to accept it. Called by `wapod --attestation simulator` and by
//! tests, which make every bad case with it.

#![forbid(unsafe_code)]
