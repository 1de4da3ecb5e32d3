//! Every bound of the interface, each with the reason it exists.

use std::time::Duration;

/// Bytes of the body of a query.
///
/// A body is read whole before it is decoded, so it occupies the worker's
/// memory. Existing clients may send queries of this size.
pub const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Bytes of the body of any other call.
///
/// The largest is a manifest, far below this. Lists of short items take many
/// times their encoded size once they are decoded, so what need not be large
/// may not be.
pub const CALL_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of the body of a call that carries a blob.
///
/// The blob is in memory as a whole, in JSON twice. Larger ones are uploaded
/// as a stream, which has a limit of its own.
pub const BLOB_CALL_BYTES_MAX: usize = 50 * 1024 * 1024;

/// Bytes of the URL's query part that are looked at for `json`.
///
/// Clients send `?json`; a longer text is not searched for it.
pub const URL_QUERY_BYTES_MAX: usize = 1024;

/// Bytes of a signature in a statement.
///
/// Every scheme in use has fewer. Verifiers refuse longer ones.
pub const SIGNATURE_BYTES_MAX: usize = 128;

/// Apps in one signed report.
///
/// Verifiers refuse longer reports, so a worker with more apps makes several.
pub const METRICS_APPS_MAX: usize = 64;

/// Bytes of the worker's description of itself. Verifiers refuse longer ones.
pub const DESCRIPTION_BYTES_MAX: usize = 1024;

/// Bytes of the account that is paid. Accounts of other sizes exist and cannot
/// be paid.
pub const ACCOUNT_BYTES: usize = 32;

/// Bytes of the operator's part of a session's id.
pub const SALT_BYTES_MAX: usize = 64;

/// Bytes of an app's label.
pub const LABEL_BYTES_MAX: usize = 64;

/// Bytes of an encoded manifest.
///
/// It is kept for as long as the app is deployed, and is listed with it.
pub const MANIFEST_BYTES_MAX: usize = 16 * 1024;

/// How long a client keeps a connection without a call for the next one.
///
/// Shorter than a worker does: one that closes as a call is sent fails the call.
pub const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client waits for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client waits for an answer, or for the next part of a download.
/// The longest is that to a deploy, which compiles the program.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(300);

/// How long an upload may take, so that a dead worker does not hold a script
/// for ever.
pub const TRANSFER_TIMEOUT: Duration = Duration::from_secs(3600);

/// How often an idle connection is tried. Followers of a log learn from it that
/// the worker's machine is gone.
pub const KEEPALIVE: Duration = Duration::from_secs(30);

/// Bytes of an answer that a client reads into memory. Above the longest list
/// of apps.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes that an upload reads at a time. Less costs calls, more costs memory.
pub const UPLOAD_CHUNK_BYTES: usize = 64 * 1024;

/// Bytes of one server-sent event. Above the longest line of a log.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;
