//! Every bound of the daemon, each with the reason it exists.
//!
//! What an operator chooses is a field of [`crate::Config`] or
//! [`crate::AppConfig`]; bounds of guests are in [`wapo_host::limits`].

use std::time::Duration;

/// Connections to the user port at a time.
///
/// Each costs a file descriptor and some ten KiB. Further clients wait in the
/// kernel's queue until one leaves.
pub const CONNECTIONS_MAX: u32 = 4096;

/// Time for a client to show which version of HTTP it speaks.
///
/// Without it, connections that send nothing would stay for ever.
pub const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a client to send the head of a request.
///
/// Bounds clients that send one byte a minute. Idle keep-alive connections are
/// closed by it, too.
pub const HEAD_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of the head of a request.
///
/// Browsers stay below 16 KiB; the head is kept in memory and copied to the
/// guest. The number of headers is bounded to 100 by the HTTP library.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a URL that is passed to a guest.
///
/// The longest that common browsers and servers agree on is about 8 KiB.
pub const URL_BYTES_MAX: usize = 16 * 1024;

/// Requests at a time on one HTTP/2 connection.
///
/// Each may wait for a guest, so a connection must not start them by thousands.
pub const STREAMS_MAX: u32 = 128;

/// Bytes of the body of one request through the gateway.
///
/// Bodies are streamed, so this protects the time of an app, not memory.
pub const REQUEST_BODY_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Bytes of a request body that are read after the guest has lost interest.
///
/// A client that still sends does not look for the answer before it is done or
/// the connection breaks. Beyond this it breaks.
pub const DISCARD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Time for reading what the guest has lost interest in.
pub const DISCARD_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes that are taken from a guest's response body in one step.
///
/// Larger steps cost memory per connection, smaller ones system calls.
pub const BODY_CHUNK_BYTES: usize = 16 * 1024;

/// Requests of one app at a time, waiting ones included.
///
/// A guest that never answers would collect requests until they time out.
pub const APP_REQUESTS_MAX: usize = 4096;

/// Time a request waits for an app that has just been started.
///
/// Covers the start of a large guest. Afterwards a request that the guest does
/// not take is refused.
pub const START_WAIT: Duration = Duration::from_secs(10);

/// Time a request waits for an app that has been there for a while.
///
/// Long enough for a restart after a crash, short enough for whoever asks an
/// app that serves no requests at all.
pub const CHANNEL_WAIT: Duration = Duration::from_secs(1);

/// Time for a guest to answer an HTTP request with a response head.
///
/// The body may take as long as it likes. Proxies give up after 60 seconds.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Time for a guest to answer a query.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of path and payload of a query, unless the app says otherwise.
pub const QUERY_BYTES_MAX_DEFAULT: u32 = 1024 * 1024;

/// Seconds after which a client may try again when something is full.
pub const RETRY_AFTER_SECS: u32 = 1;

/// Time that requests in flight get when the daemon shuts down.
pub const DRAIN_GRACE: Duration = Duration::from_secs(10);

/// Lines that are kept of an app's log.
pub const LOG_LINES_KEPT: usize = 1000;

/// Bytes that are kept of an app's log.
///
/// A thousand lines of full length would be 16 MiB for one app.
pub const LOG_BYTES_KEPT: usize = 256 * 1024;

/// Bytes of output of an app that wait for somebody to take them.
pub const OUTPUT_BYTES_KEPT: usize = 16 * 1024 * 1024;

/// Requests to the store that wait for its thread.
///
/// Each waits for its own outcome, so more than a few mean that the disk is
/// slower than those who ask; they are held up then.
pub const STORE_QUEUE_MAX: usize = 1024;

/// Apps that are deployed at a time.
///
/// Every second the worker looks at each of them; this many take a few
/// milliseconds of that.
pub const APPS_MAX: usize = 100_000;

/// Removed apps whose last usage is kept for the next report.
///
/// Whoever pays asks every few minutes; a worker does not lose more apps between
/// two reports than this.
pub const DEPARTED_MAX: usize = 10_000;

/// Bytes of the code of an app.
///
/// Compiling takes a multiple of this in memory. Real programs have some MiB.
pub const CODE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Bytes of any blob.
pub const BLOB_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Modules that are compiled at a time.
pub const COMPILE_THREADS: u32 = 2;

/// Apps that are started at a time when the daemon starts.
///
/// Enough to keep the disk and the compilers busy.
pub const RESTORED_AT_A_TIME: usize = 8;

/// Time a request waits for a slot when all instances are taken.
///
/// An instance that was asked to make room is gone within a slice.
pub const SLOT_WAIT: Duration = Duration::from_secs(1);

/// Time that an instance on demand stays when nobody needs it any more.
///
/// The next request then finds it warm. Whoever needs its slot gets it earlier.
pub const ON_DEMAND_LINGER: Duration = Duration::from_secs(10);

/// Time that an instance on demand serves, unless the operator says otherwise.
///
/// It takes no new requests after that, and ends with its last answer, or after
/// as long again.
pub const ON_DEMAND_TIME: Duration = Duration::from_secs(60);

/// Time between two entries of usage in the store.
///
/// What a crash can lose of the bill.
pub const USAGE_INTERVAL: Duration = Duration::from_secs(1);

/// Numbers of readings that are reserved in the store at a time.
///
/// Guests read usage without waiting for the disk; the reserve lasts while the
/// next one is being written. After a crash, what was left of it is skipped.
pub const READINGS_RESERVED: u64 = 1 << 20;

/// Bytes of what the owner of a session adds to its name.
pub const PNONCE_BYTES_MAX: usize = 64;

/// Endpoints in one statement.
pub const ENDPOINTS_MAX: usize = 64;

/// Secrets of one app.
pub const SECRETS_MAX: usize = 64;

/// Bytes of the name of a secret.
pub const SECRET_NAME_BYTES_MAX: usize = 128;

/// Bytes of a secret. Certificates and keys fit.
///
/// Secrets are environment variables, which a guest copies into its memory.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;

/// Bytes that are read from a blob's file in one step.
pub const BLOB_PIECE_BYTES: usize = 64 * 1024;

/// Pieces of a blob on their way between the network and the disk.
///
/// The faster side waits for the other one.
pub const BLOB_PIECES_MAX: usize = 8;

/// Time without a line after which a stream of log lines shows that it lives.
///
/// Proxies close connections that are silent for a minute.
pub const EVENT_STREAM_PING: Duration = Duration::from_secs(15);
