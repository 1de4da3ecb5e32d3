//! Every bound of the host, each with the reason it exists.
//!
//! A guest is hostile until proven otherwise: whatever it can make grow has a
//! number here. Limits that an operator chooses per app are fields of
//! [`crate::InstanceConfig`]; these are the ones nobody should need to touch.

use std::time::Duration;

/// Fuel a guest may burn before others get a turn (a weight multiplies it).
///
/// About 0.1 ms of ordinary code. Larger values make neighbours wait, smaller
/// ones spend more on switching: entering and leaving costs about 0.3 µs, so
/// this keeps the overhead below half a percent.
pub const SLICE_FUEL: u64 = 200_000;

/// Fuel interval while a guest works off expensive host calls.
///
/// Host calls burn host time, not fuel, so a guest that makes many expensive
/// ones would reach its next yield late. After a slice's worth of host work the
/// interval shrinks to this value until the guest has yielded once.
pub const SHORT_SLICE_FUEL: u64 = SLICE_FUEL / 64;

/// Slices in a row without any finished I/O after which a guest is a hog.
///
/// Hogs continue on low-priority threads. At eight slices (about 1 ms) request
/// handlers with a short burst of work stay, loops go.
pub const HOG_SLICES: u32 = 8;

/// Time of one step that ends at the slice's end after which a guest is a hog.
///
/// Bulk memory instructions are one step however large they are; fuel cannot
/// interrupt them. 1 ms is ten slices.
pub const HOG_STEP: Duration = Duration::from_millis(1);

/// Fuel of one poll after which a guest is a hog even if it idles afterwards.
///
/// The same ten slices, for guests that burn them between two waits.
pub const HOG_POLL_FUEL: u64 = 10 * SLICE_FUEL;

/// Time without a strike after which a hog returns to the runtime of the others.
pub const HOG_PENALTY: Duration = Duration::from_secs(1);

/// Fuel in one unit of gas.
pub const FUEL_PER_GAS: u64 = 1024;

/// Entries that wait in the wake queue of an instance, per kind.
///
/// A guest that never drains its queue while it makes new waits would grow the
/// host. The value is eight times the handle limit, which no honest guest
/// reaches; the one that does is ended.
pub const WAKE_QUEUE_MAX: usize = 8 * wapo_abi::HANDLES_MAX;

/// Commands (queries, HTTP requests) that wait for an instance to take them.
///
/// More are refused at once, so that a slow guest cannot collect requests.
pub const INBOX_CAPACITY: usize = 128;

/// Bytes that each direction of an HTTP body may have in flight.
pub const PIPE_BYTES: usize = 64 * 1024;

/// Bytes of one answer to a query or of a response head.
///
/// The bytes are copied out of the guest while it runs.
pub const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of the encoded trailers of a response.
///
/// They wait in the host until the client has taken the body. Servers limit
/// heads, which hold far more, to about as much.
pub const TRAILERS_BYTES_MAX: usize = 16 * 1024;

/// Bytes of random data per call; more is refused.
///
/// 256 KiB take about a slice. Key material is never that long.
pub const RANDOM_BYTES_MAX: usize = 256 * 1024;

/// Bytes of data that a guest may have signed or quoted.
///
/// The data is hashed while the guest runs; 64 KiB take less than a slice.
/// Sign a hash to sign more.
pub const SIGN_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the path of a derived secret.
pub const SECRET_PATH_BYTES_MAX: usize = 256;

/// Bytes of the sealed record of an app.
pub const BOOT_DATA_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a blob that a guest may read in one piece.
///
/// The bytes wait in the host until the guest fetches them.
pub const BLOB_GET_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of one line in an app's log; longer ones are cut.
pub const LOG_LINE_BYTES_MAX: usize = 16 * 1024;

/// Lines per second of an instance's log; more are counted and dropped.
pub const LOG_LINES_PER_SECOND: u32 = 1_000;

/// Bytes per second of an instance's log; lines beyond are counted and dropped.
pub const LOG_BYTES_PER_SECOND: usize = 256 * 1024;

/// Bytes of output that a guest may hand over in one call.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of the name of a lock.
pub const LOCK_NAME_BYTES_MAX: usize = 64;

/// Locks that an app may hold at a time.
pub const LOCKS_MAX: usize = 64;

/// Bytes of a host name (RFC 1035, section 2.3.4).
pub const HOST_BYTES_MAX: usize = 253;

/// Time for name resolution and TCP connection together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Addresses of one name that are tried.
///
/// A name may resolve to thousands; each attempt costs a socket.
pub const CONNECT_ADDRESSES_MAX: usize = 8;

/// Time a TLS handshake may take from the moment the connection exists.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Time that a closed TLS stream gets to send what it had buffered.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(5);

/// Closed TLS streams that may still be sending, over all instances.
///
/// Each holds a socket that no handle counts any more; beyond this number a
/// closed stream loses what its peer did not take in time.
pub const LINGERING_STREAMS_MAX: usize = 1024;

/// Backlog of a listener.
pub const LISTEN_BACKLOG: i32 = 1024;

/// Elements of one table of a guest.
///
/// Function tables of large programs have some ten thousand entries of 8 bytes.
pub const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Stack of wasm code.
pub const WASM_STACK_BYTES: usize = 512 * 1024;

/// Stack of an instance while it runs: wasm plus the host calls it makes.
pub const FIBER_STACK_BYTES: usize = 1024 * 1024;

/// Bytes of a module that is accepted for compilation.
pub const MODULE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Modules that wait for a compiler thread; more are refused.
pub const COMPILE_QUEUE_MAX: usize = 64;

/// First wait before a crashed guest is started again; doubled each time.
pub const RESTART_BACKOFF_MIN: Duration = Duration::from_millis(100);

/// Longest wait before a crashed guest is started again.
pub const RESTART_BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Time of health after which the next crash counts as the first.
pub const RESTART_BACKOFF_RESET: Duration = Duration::from_secs(60);
