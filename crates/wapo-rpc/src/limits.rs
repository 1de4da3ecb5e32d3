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

/// How long a client waits for what another server publishes, as a whole: some KiB.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(30);

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

/// Bytes of a quote, or of a report of SEV-SNP.
///
/// SGX has some 5 KiB with the certificates of the platform, TDX 8. What reads
/// evidence allocates no more than this, whatever a length says.
pub const QUOTE_BYTES_MAX: usize = 32 * 1024;

/// Bytes of the certificates beside a report of SEV-SNP.
///
/// Three of them have less than 5 KiB; the kernel hands over at most four pages.
pub const QUOTE_CERTIFICATES_BYTES_MAX: usize = 32 * 1024;

/// Bytes of collateral.
///
/// That of one platform has 20 to 40 KiB, most of it certificates and hex digits
/// of lists of what is revoked, which may grow.
pub const COLLATERAL_BYTES_MAX: usize = 256 * 1024;

/// Bytes of the nonce that a verifier may give.
///
/// Twice what any hash has.
pub const EVIDENCE_NONCE_BYTES_MAX: usize = 64;

/// Bytes of claims of a worker.
///
/// The list of what the host controls is the largest part, a hundred words.
pub const WORKER_CLAIMS_BYTES_MAX: usize = 16 * 1024;

/// Bytes of claims of an app: the arguments of a manifest, and what is short.
pub const APP_CLAIMS_BYTES_MAX: usize = MANIFEST_BYTES_MAX + 4 * 1024;

/// Bytes of a worker's key on its way to another worker, with the versions of the keys of
/// all its apps, encrypted.
///
/// A worker remembers versions of ten thousand apps at most, of 36 bytes each.
pub const KEY_HANDOVER_BYTES_MAX: usize = 512 * 1024;

/// Bytes of a public key in claims. One of P-256 with its names has 91.
pub const CLAIMED_KEY_BYTES_MAX: usize = 128;

/// Bytes of the name and version of the software in claims.
pub const SOFTWARE_BYTES_MAX: usize = 128;

/// Settings that claims list as the host's.
///
/// The daemon has fewer than a hundred settings in all.
pub const HOST_CONTROLLED_MAX: usize = 256;

/// Bytes of the name of a setting in claims.
pub const SETTING_NAME_BYTES_MAX: usize = 64;

/// Arguments that claims list. A manifest of the largest size has fewer.
pub const CLAIMED_ARGS_MAX: usize = MANIFEST_BYTES_MAX;

/// Bytes of a blob's name, of which code's is one.
pub const CODE_HASH_BYTES_MAX: usize = 192;

/// Entries of one report of usage.
///
/// A report is made, exported and read as a whole: this many are 1.2 MiB. A worker
/// with more apps that did something makes several reports in a row.
pub const REPORT_ENTRIES_MAX: usize = 4096;

/// Hashes that prove an entry of a report: levels of a tree with
/// [`REPORT_ENTRIES_MAX`] leaves.
pub const REPORT_PATH_MAX: usize = 12;

/// Reports in one answer to `UsageExport`.
///
/// More go into the next page. They are read and encoded as a whole.
pub const EXPORT_REPORTS_MAX: usize = 1024;

/// Bytes of a field about signatures that are read.
///
/// Ours have some 600. A longer one of a stranger is not taken apart.
pub const SIGNATURE_FIELD_BYTES_MAX: usize = 4096;

/// Bytes of the nonce that a client may have put into the signature of an answer.
pub const ANSWER_NONCE_BYTES_MAX: usize = 128;
