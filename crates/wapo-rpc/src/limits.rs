//! Every bound of the interface, each with the reason it exists.

/// Bytes of the body of a call.
///
/// A body is read whole before it is decoded, so it occupies the worker's
/// memory. Blobs do not go this way; nothing else comes near this size.
pub const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Bytes of the URL's query part that are looked at for `json`.
///
/// Clients send `?json`; a longer text is not searched for it.
pub const URL_QUERY_BYTES_MAX: usize = 1024;
