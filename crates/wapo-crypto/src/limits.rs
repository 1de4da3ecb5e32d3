//! Every bound on what strangers send, each with the reason it exists.
//!
//! Only for input that is parsed here: query signatures. Sizes of messages,
//! payloads and stored data are bounded by the code that reads them.

/// Bytes of an encoded query signature, certificate included.
///
/// The decoder's work and memory follow its input. With the limits below, a
/// certificate of this size names some hundred paths; more would only slow
/// down the check that every query with it pays for.
pub const ENCODED_SIGNATURE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a signature inside a query signature.
///
/// All schemes need 64 or 65. The spare room lets a wrong length be reported
/// as a wrong signature instead of an unreadable message.
pub const SIGNATURE_BYTES_MAX: usize = 128;

/// Bytes of a public key inside a query signature.
///
/// All schemes need 32, 33 or 65. Spare room for the same reason.
pub const PUBLIC_KEY_BYTES_MAX: usize = 128;

/// Bytes of an app's address in a scope.
///
/// Real ones have 32; any other length matches no app. Shorter ones are let
/// through because a certificate may name several kinds of things.
pub const SCOPE_APP_BYTES_MAX: usize = 64;

/// Scopes of one certificate.
///
/// One scope is one app. A certificate for more apps than this is better cut in
/// two: the whole of it travels with each query.
pub const SCOPES_MAX: usize = 64;

/// Resources of one scope.
///
/// Prefixes make lists short. Without a bound, a list of empty strings would
/// take 24 times its size in memory.
pub const RESOURCES_MAX: usize = 256;

/// Bytes of one resource of a scope.
///
/// As long as a long path of a URL.
pub const RESOURCE_BYTES_MAX: usize = 2048;
