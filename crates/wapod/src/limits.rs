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
