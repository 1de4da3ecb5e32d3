//! Bounds of the daemon that clients, apps or the operator can meet, or that several
//! modules need, each with the reason it exists; and the defaults of settings.
//!
//! Not every bound is here: one that is a detail of a single module stands in that
//! module, with its reason. What an operator sets for the worker is a field of
//! [`crate::Config`], and for one app a field of `AppSettings` in `wapo-rpc`; bounds of
//! guests are in [`wapo_host::limits`]. Constants only; used by all of the daemon, and
//! by tests.

mod answers;
mod attestation;
mod bills;
mod clients;
mod edge;
mod enclave;
mod tls;

use std::time::Duration;

pub use answers::*;
pub use attestation::*;
pub use bills::*;
pub use clients::*;
pub use edge::*;
pub use enclave::*;
pub use tls::*;

/// Time for the whole body of a call, which is collected in memory.
///
/// 90 KB a second are enough for the largest query. The pace within it is
/// [`BODY_WINDOW_BYTES_MIN`]; a client that kept only that could hold its part
/// of the budget for days.
pub const COLLECT_TIMEOUT: Duration = Duration::from_secs(120);

/// Bytes of a message above which it is read or written on another thread.
///
/// A runtime thread is not kept from its connections for more than about a
/// millisecond.
pub const AT_ONCE_BYTES_MAX: usize = 64 * 1024;

/// Large messages of a port that are read or written at a time.
///
/// Each keeps a core busy for up to some tenths of a second.
pub const HEAVY_WORK_MAX: usize = 1;

/// Niceness of the threads for large messages.
///
/// At 10 such a thread gets a tenth of a core that others need; the others are
/// those that serve all other clients.
pub const HEAVY_NICENESS: i32 = 10;

/// Time that a large message waits for its turn.
pub const HEAVY_WAIT: Duration = Duration::from_secs(10);

/// Uploads and downloads of blobs at a time.
///
/// Each has a file open and up to a MiB in memory.
pub const BLOB_TRANSFERS_MAX: u64 = 64;

/// Clients that follow logs at a time.
///
/// Each is woken by the lines of its app.
pub const LOG_FOLLOWERS_MAX: u64 = 128;

/// The same of one app.
pub const APP_LOG_FOLLOWERS_MAX: u64 = 32;

/// Time between two parts of a followed log.
///
/// What comes in between is sent together: an app that logs much must not wake
/// each follower for each line. People do not see the difference.
pub const LOG_PART_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes of a part of a followed log.
pub const LOG_PART_BYTES_MAX: usize = 64 * 1024;

/// Texts of refusals whose signature is kept.
///
/// There are fewer of them.
pub const SIGNATURES_KEPT_MAX: usize = 64;

/// Connections to the admin port at a time.
///
/// Apart from those to the user port, so that strangers cannot shut the operator
/// out: some consoles, scrapers and followers of logs.
pub const ADMIN_CONNECTIONS_MAX: u32 = 512;

/// Files that one instance may have open, however few there are for all.
///
/// A listener and some connections; otherwise an instance has a quarter of what
/// guests may have together.
pub const INSTANCE_FILES_MIN: u64 = 64;

/// Time between two warnings that no connection can be accepted.
///
/// Without files each attempt fails, twenty times a second and port.
pub const ACCEPT_WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Time without a request after which a connection of HTTP/1.1 rests, or twice that: it is
/// looked at once in this time.
///
/// While it rests, no buffers of HTTP are kept for it, which are 16 KiB at least.
/// Clients in the middle of something pause for less; for others the buffers are made
/// anew, which takes some microseconds.
pub const REST_AFTER: Duration = Duration::from_secs(2);

/// Time for a client to show which version of HTTP it speaks.
///
/// Without it, connections that send nothing would stay for ever.
pub const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a client to send the head of a request.
///
/// Bounds clients that send one byte a minute. Counts from the first byte; before
/// that, the connection is idle ([`IDLE_TIMEOUT`]).
pub const HEAD_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of the head of a request.
///
/// Browsers stay below 16 KiB; the head is kept in memory and copied to the
/// guest.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Headers of a request, in either version of HTTP.
///
/// The cookies of HTTP/2, which come in a header each, count as one.
pub const HEADERS_MAX: usize = 100;

/// Time that a connection stays without a request, in either version of HTTP.
///
/// Longer than the 60 seconds for which proxies keep their connections: the side that
/// closes first must be the proxy, or it sends a request into a connection that is
/// being closed, and cannot send it again when it is a POST.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// Time for a client to learn that its connection ends: to agree to it in
/// HTTP/2, or to read that it was too slow.
pub const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time in which a client has to take at least a byte of what is sent to it.
///
/// A client that reads nothing would hold a request for ever; it costs the guest
/// a place in its queues. Other servers have a minute, too.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Time without a packet after which the kernel asks whether a client is alive.
///
/// Finds clients that vanished without closing, in tunnels and silent streams.
pub const KEEPALIVE_TIME: Duration = Duration::from_secs(60);

/// Time between two looks at a client that waits for an answer.
///
/// A client that has left is noticed after two of them, and its request ends.
/// Answers that come sooner cost no look.
pub const LIVENESS_INTERVAL: Duration = Duration::from_millis(500);

/// Time that an answer may be silent for a client that sends no more.
///
/// A client that closed its side after the request may still listen, or may be gone;
/// in the middle of an answer only sending something would tell.
pub const HALF_CLOSED_SILENCE: Duration = Duration::from_secs(60);

/// Bytes of a URL that is passed to a guest.
///
/// The longest that common browsers and servers agree on is about 8 KiB.
pub const URL_BYTES_MAX: usize = 16 * 1024;

/// Requests at a time on one HTTP/2 connection.
///
/// Each may wait for a guest, so a connection must not start them by thousands.
pub const STREAMS_MAX: u32 = 128;

/// Bytes of a request's body that a client of HTTP/2 may send before they are taken.
///
/// With a round trip of 100 ms a client uploads 1.3 MB/s. What is not taken is kept
/// in memory.
pub const STREAM_WINDOW_BYTES: u32 = 128 * 1024;

/// The same for all requests of one HTTP/2 connection.
///
/// More than all its streams can hold ([`STREAMS_MAX`] times [`STREAM_WINDOW_BYTES`],
/// 16 MiB), so that bodies which one app does not read never keep another app's from
/// coming: proxies put many clients on one connection. This is also what a client
/// can make the worker keep with one connection: 16.25 MiB, if it sends all that and
/// the apps read nothing of it.
pub const CONNECTION_WINDOW_BYTES: u32 = (STREAMS_MAX + 2) * STREAM_WINDOW_BYTES;

/// Bytes of an answer that wait for the socket of a client, for each stream of
/// HTTP/2.
///
/// What comes from a guest is held back there.
pub const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// Frames of HTTP/2 that do no work (PING, SETTINGS, PRIORITY, WINDOW_UPDATE,
/// RST_STREAM, empty DATA and unknown ones) that a client may send at once.
///
/// Each costs a microsecond and no flow control bounds them: a client could keep a
/// core busy. Beyond this, the connection is closed. A request allows for four more,
/// and what is sent to the client for as many as its updates need (`api::frames`).
pub const CONTROL_FRAMES_BURST: u32 = 1_000;

/// The same per second, for as long as the connection lasts.
///
/// Programs that ask whether the other end is alive send one in some seconds.
pub const CONTROL_FRAMES_PER_SECOND: u32 = 100;

/// Time that the head of a gRPC error waits for the end of its empty body.
///
/// Guests send the head first, and the end in the same step. Clients take an error
/// whose head does not say that it is the end for a broken connection.
pub const EMPTY_BODY_WAIT: Duration = Duration::from_secs(1);

/// Bytes of the body of one request through the gateway.
///
/// Bodies are streamed, so this protects the time of an app, not memory.
pub const REQUEST_BODY_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Time in which a client has to send [`BODY_WINDOW_BYTES_MIN`] of a body.
///
/// Only time spent waiting for the client counts, and only until the app answers:
/// then the app decides how long it listens. Without it, a byte a minute would
/// keep an instance busy for ever.
pub const BODY_WINDOW: Duration = Duration::from_secs(20);

/// Bytes of a request body that have to come within [`BODY_WINDOW`], be it for an
/// app, a call or a blob.
pub const BODY_WINDOW_BYTES_MIN: u64 = 1024;

/// Bytes of a request body that are read after it has become unwanted.
///
/// A client that still sends does not look for the answer before it is done or
/// the connection breaks. Beyond this it breaks.
pub const DISCARD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Time for reading an unwanted body.
pub const DISCARD_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of the names and values of all headers of a guest's answer.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Bytes of an answer that is signed, of the daemon or of an app.
///
/// What existing clients expect; the whole of it is kept, within the budget of answers.
pub const SIGNED_BODY_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Lines about failed requests in the log of one app, per second.
///
/// A flood of refused requests must not push the guest's own lines out.
pub const FAILURES_PER_SECOND: u32 = 10;

/// Bytes of such a line. An error text of the guest's is in it.
///
/// Ten of them a second must not push the guest's own lines out either.
pub const FAILURE_BYTES_MAX: usize = 1024;

/// Lines that an app said last, and their bytes, in the error of a deployment that it
/// did not survive. An exception of JavaScript with its stack has some ten.
pub const LAST_WORDS_LINES_MAX: u64 = 20;
/// See [`LAST_WORDS_LINES_MAX`].
pub const LAST_WORDS_BYTES_MAX: usize = 8 * 1024;

/// Lines of one app in the daemon's own log, per second.
///
/// The app's own log has ten times as many. The operator's disk is not the app's.
pub const DAEMON_LINES_PER_SECOND: u32 = 100;

/// Bytes of a path that such a line repeats.
pub const FAILURE_PATH_BYTES_MAX: usize = 200;

/// Requests of one app at a time, waiting ones included.
///
/// A guest that never answers would collect requests until they time out. Up to
/// here a burst waits for its turn; beyond it is refused at once.
pub const APP_REQUESTS_MAX: usize = 4096;

/// Time a request waits for an app that has just been started.
///
/// Covers the start of a large guest. Afterwards a request that the guest does
/// not take is refused.
pub const START_WAIT: Duration = Duration::from_secs(10);

/// Time a request waits for an app that has been there for a while.
///
/// Long enough for a restart after a crash, short enough for a client of an
/// app that serves no requests at all.
pub const CHANNEL_WAIT: Duration = Duration::from_secs(1);

/// Time a request waits for its turn at an app whose instances have no room.
///
/// [`APP_REQUESTS_MAX`] requests of 4 ms each, one after the other, take half of
/// it.
pub const QUEUE_WAIT: Duration = Duration::from_secs(30);

/// Time for a guest to answer an HTTP request with a response head.
///
/// Counts from when the request was handed over, body included, or from when
/// the guest took a piece of that for the last time. The answer's body may take
/// as long as it likes. Proxies give up after 60 seconds.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Time for a guest to answer a query.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of path and payload of a query, unless the app says otherwise.
pub const QUERY_BYTES_MAX_DEFAULT: u32 = 1024 * 1024;

/// Seconds after which a client may try again when something is full.
pub const RETRY_AFTER_SECS: u32 = 1;

/// Time that an instance that leaves gets for what it has begun: when the daemon
/// shuts down, and when an app is stopped, shrunk, replaced or removed.
pub const DRAIN_GRACE: Duration = Duration::from_secs(10);

/// Lines that are kept of an app's log.
pub const LOG_LINES_KEPT: usize = 1000;

/// Bytes that are kept of an app's log.
///
/// A thousand lines of full length would be 16 MiB for one app.
pub const LOG_BYTES_KEPT: usize = 256 * 1024;

/// Bytes of output of an app that wait to be taken.
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
/// A customer's bridge asks every few minutes; a worker does not lose more apps between
/// two reports than this.
pub const DEPARTED_MAX: usize = 10_000;

/// Bytes of the code of an app.
///
/// Compiling takes a multiple of this in memory. Real programs have some MiB.
pub const CODE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Bytes of any blob.
pub const BLOB_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Modules that are compiled at a time.
pub const COMPILE_THREADS: usize = 2;

/// Apps that are started at a time when the daemon starts.
///
/// Enough to keep the disk and the compilers busy.
pub const RESTORED_AT_A_TIME: usize = 8;

/// Time a request waits for a slot when all instances are taken.
///
/// An instance that was asked to make room is gone within a slice.
pub const SLOT_WAIT: Duration = Duration::from_secs(1);

/// Time that new instances get to be ready: their first poll returns, and they
/// offer what those offer whose work they share or take over.
///
/// Covers what a large program reads and prepares before it serves.
pub const READY_WAIT: Duration = Duration::from_secs(10);

/// Time that the first poll of a new app gets before its deployment is answered.
///
/// A program that computes for a minute before it waits for anything is deployed
/// all the same; its operator does not wait for it.
pub const FIRST_POLL_WAIT: Duration = Duration::from_secs(3);

/// Time that a new version has to stay alive, ready as it is, before the old one
/// leaves.
///
/// Most programs that crash at their start do so within this time.
pub const SETTLE: Duration = Duration::from_secs(1);

/// Longest such time that a deployment may ask for.
pub const SETTLE_MAX: Duration = Duration::from_secs(60);

/// Time for loading code on behalf of an operator, compilation and the queue
/// before it included.
///
/// The largest programs take a minute of a slow machine's time.
pub const LOAD_WAIT: Duration = Duration::from_secs(300);

/// Time beyond the grace for an equal app to have left before the next one comes.
pub const CHANGE_WAIT: Duration = Duration::from_secs(5);

/// Time for an instance to be gone after it was told to stop.
///
/// It is told between two slices, and those are shorter than a millisecond unless
/// the machine is overloaded.
pub const STOP_WAIT: Duration = Duration::from_millis(800);

/// Time between two looks at whether instances that leave have finished.
pub const DRAIN_LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// Time that an instance on demand stays when nobody needs it any more.
///
/// The next request then finds it warm. An app that needs its slot gets it earlier.
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

/// Bytes of a blob that are written to the disk in one step.
pub const BLOB_PART_BYTES: usize = 256 * 1024;

/// Time for an upload of a blob.
///
/// The largest takes an hour on a line of 10 MBit/s.
pub const BLOB_UPLOAD_TIMEOUT: Duration = Duration::from_secs(6 * 3600);

/// Time without a line after which a stream of log lines shows that it lives.
///
/// Proxies close connections that are silent for a minute.
pub const EVENT_STREAM_PING: Duration = Duration::from_secs(15);

/// Memory that the daemon keeps for itself when it chooses the budget of the
/// instances.
///
/// Compiled modules, buffers of connections and the store need some 100 MiB on a
/// busy worker.
pub const DAEMON_MEMORY_BYTES_MIN: u64 = 192 << 20;

/// Mappings of address space of an instance: its memory, the image of its data,
/// its table, its stack, and what guards them.
///
/// An idle one was measured to have three to four (`tests/capacity.rs`); one
/// that runs has a stack as well, and its buffers may be mappings of their own.
pub const MAPPINGS_PER_INSTANCE: u64 = 8;

/// Mappings of the daemon without instances: libraries, threads, compiled code.
///
/// 229 were measured; each compiled module adds some.
pub const DAEMON_MAPPINGS: u64 = 2_000;

/// Open files of the daemon without instances and connections.
///
/// 15 were measured; blobs and modules are files while they are read.
pub const DAEMON_FILES: u64 = 256;

/// Open files that an instance should be able to have: a listener and some
/// connections.
///
/// An idle one has none of its own. What cannot be had fails as an error of the
/// guest's call, so this is for a warning only.
pub const FILES_PER_INSTANCE: u64 = 8;

/// Time after the grace in which the program may still end by itself.
///
/// Closing the store takes some ten milliseconds. Together with
/// [`LAST_SAVE_TIME`] it stays below a second, which is what is promised.
pub const EXIT_MARGIN: Duration = Duration::from_millis(600);

/// Time to write down what apps have used before the process is ended.
///
/// Usage is written every second, so this saves the last second of the bill. A
/// disk that does not answer must not hold up the end.
pub const LAST_SAVE_TIME: Duration = Duration::from_millis(250);

/// Time after a second signal in which the program may still end by itself.
///
/// Enough for a line in the log or what an app has written last.
pub const EXIT_AT_ONCE_TIME: Duration = Duration::from_millis(250);

/// Time between two looks at the runtime.
///
/// Four wake-ups a second cost an idle machine nothing that can be measured, and
/// a stall is known a quarter of a second after it counts as one.
pub const WATCHDOG_INTERVAL: Duration = Duration::from_millis(250);

/// Time without a task that is run, or within one step of an instance, that
/// counts as a stall.
///
/// Steps are some 0.1 ms long; on a machine that has too much to do, tens of
/// milliseconds are usual.
pub const STALL_MIN: Duration = Duration::from_secs(1);

/// Time between two lines about stalls.
///
/// A guest can cause stalls, and must not fill the log with them.
pub const STALL_LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Bytes of the file that is given up when the disk is full.
///
/// The store writes a new copy of what it changes before it frees the old one;
/// a removal needs some hundred KiB, the start after a crash as much again. Four
/// MiB are nothing on a disk that is not full.
pub const RESERVE_BYTES: u64 = 4 << 20;

/// Time between two looks whether that file can be made again.
pub const RESERVE_INTERVAL: Duration = Duration::from_secs(10);

/// Time between two lines about a store that cannot be written.
///
/// Usage is written every second, and fails as often on a full disk.
pub const STORE_LINE_INTERVAL: Duration = Duration::from_secs(10);

/// How long the gateway waits for clients and guests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// For the head of a request; see [`HEAD_READ_TIMEOUT`].
    pub head: Duration,
    /// For some of a request's body; see [`BODY_WINDOW`].
    pub body_window: Duration,
    /// For the whole body of a call; see [`COLLECT_TIMEOUT`].
    pub body: Duration,
    /// For a client to take some of an answer; see [`WRITE_TIMEOUT`].
    pub write: Duration,
    /// For a request on a connection; see [`IDLE_TIMEOUT`].
    pub idle: Duration,
    /// For the head of a guest's answer; see [`RESPONSE_TIMEOUT`].
    pub response: Duration,
    /// For the answer to a query; see [`QUERY_TIMEOUT`].
    pub query: Duration,
    /// For a word to a client that sends no more; see [`HALF_CLOSED_SILENCE`].
    pub half_closed: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: HEAD_READ_TIMEOUT,
            body_window: BODY_WINDOW,
            body: COLLECT_TIMEOUT,
            write: WRITE_TIMEOUT,
            idle: IDLE_TIMEOUT,
            response: RESPONSE_TIMEOUT,
            query: QUERY_TIMEOUT,
            half_closed: HALF_CLOSED_SILENCE,
        }
    }
}

/// Bytes of the list of files in a backup.
///
/// It is read as a whole. A hundred thousand blobs take 25 MiB.
pub const BACKUP_LIST_BYTES_MAX: u64 = 256 << 20;

/// Rules of the worker in each of its lists about connections of apps.
///
/// They are found by index, so that the number costs memory only: some hundred bytes
/// each. More than that is a public block list, and belongs into a firewall.
pub const EGRESS_RULES_MAX: usize = 10_000;

/// Rules of one app about its connections, of both lists together.
pub const APP_EGRESS_RULES_MAX: usize = 1_000;
