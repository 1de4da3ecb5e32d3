//! Bounds of signatures that clients ask for, and of private queries.
//!
//! Named by `limits`, used by `api::signed_answer` and `api::private_query`.

use std::time::Duration;

/// How long the signature of an answer counts.
///
/// A client that gave a nonce needs no more than the way of the answer; this is for
/// those that keep it, and for clocks that differ.
pub const ANSWER_SIGNATURE_LIFE: Duration = Duration::from_secs(300);

/// Answers that are signed in a second for clients who ask for it.
///
/// Each takes some tenth of a millisecond of a thread, for which a stranger sends a
/// hundred bytes. What is beyond this is answered without a signature, and says so.
pub const ANSWER_SIGNATURES_PER_SECOND_MAX: u32 = 2_000;

/// The same for one client: a tenth, so that nobody takes them from all others.
pub const ANSWER_SIGNATURES_PER_CLIENT_MAX: u32 = 200;

/// How long an app may take for the body of an answer that is to be signed.
///
/// The digest stands before the body, so the client gets nothing until all is there. Of
/// what takes longer, such as a stream of events, it then gets all that there is and what
/// follows, without a signature.
pub const SIGNED_ANSWER_WAIT: Duration = Duration::from_secs(10);

/// How old a private query may be when it comes, by the clocks of client and worker.
///
/// It takes the way of a request, and clocks that differ; as long its identifier is kept.
pub const PRIVATE_QUERY_AGE: Duration = Duration::from_secs(60);

/// How far a client's clock may be ahead.
pub const PRIVATE_QUERY_AHEAD: Duration = Duration::from_secs(5);

/// Private queries whose identifiers are kept, so that none is answered twice.
///
/// Each has some 200 bytes, for 65 seconds at most, so this is 1,500 a second.
pub const PRIVATE_QUERIES_MAX: u64 = 100_000;

/// The same of one client.
pub const PRIVATE_QUERIES_CLIENT_MAX: u64 = 10_000;
