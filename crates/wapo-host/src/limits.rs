//! Bounds of the host, each with the reason it exists.
//!
//! A guest is hostile until proven otherwise: whatever it can make grow has a
//! number, here or, where it is a detail of a single module, in that module. Limits
//! that an operator chooses per app are fields of [`crate::InstanceConfig`]; these are
//! the ones nobody should need to touch.
//!
//! How long the slices of host calls may be is part of the contract and stands in
//! [`caps`]; what concerns modules and their compilation alone, in `limits/compile.rs`.

use std::time::Duration;

pub use wapo_abi::caps;

pub use self::compile::*;

mod compile;

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
/// interval shrinks to this value until the first call after the guest has yielded.
pub const SHORT_SLICE_FUEL: u64 = SLICE_FUEL / 64;

/// The same after a second slice's worth of host work on the way to that yield.
///
/// A loop around one call is at its end within a few rounds. Each interval costs the
/// engine a switch, and the guest stays on it until its next call: a guest that
/// computes from here on is slower by a small factor, not brought to a stop.
pub const URGENT_SLICE_FUEL: u64 = 64;

/// Slices in a row without any finished I/O after which a guest is a hog, if they took
/// [`HOG_STEP`] in all.
///
/// Hogs continue on low-priority threads. At eight slices (about 1 ms) request
/// handlers with a short burst of work stay, loops go.
pub const HOG_SLICES: u32 = 8;

/// Time of one step after which a guest is a hog, whatever the step ended with.
///
/// What the host does in a call is one step however much it is; fuel cannot
/// interrupt it. 1 ms is ten slices. The time is that of the thread; the first
/// long step by the wall clock only has the next ones measured.
pub const HOG_STEP: Duration = Duration::from_millis(1);

/// Fuel of one poll after which a guest is a hog even if it idles afterwards, and as much
/// again for each request that it took in that poll.
///
/// The same ten slices, for guests that burn them between two waits. A guest that finds
/// many requests does in one poll what it would else do in many: that its clients are
/// many makes no hog of it. It stops after each slice all the same.
pub const HOG_POLL_FUEL: u64 = 10 * SLICE_FUEL;

/// Time without a strike after which a hog returns to the runtime of the others.
pub const HOG_PENALTY: Duration = Duration::from_secs(1);

/// Time after its last strike for which new instances of an app begin among the hogs.
///
/// Much longer than [`HOG_PENALTY`], so that an app that is restarted, or started
/// for each request, does not begin anew each time; and not for ever, so that one
/// bad minute does not slow an app down for the rest of its life.
pub const HOG_RECORD: Duration = Duration::from_secs(60);

/// Fuel in one unit of gas.
pub const FUEL_PER_GAS: u64 = 1024;

/// Vectors of one call of WASI that reads or writes.
///
/// The number that POSIX systems allow (`IOV_MAX`). The host looks at each of
/// them in one step; more are refused with `INVAL`.
pub const WASI_VECTORS_MAX: u32 = 1024;

/// Bytes that one call of WASI writes; the rest is left to the next call.
///
/// Each byte is searched for ends of lines, and each line goes to the log.
/// 16 KiB of empty lines take a millisecond.
pub const WASI_WRITE_BYTES_MAX: usize = 16 * 1024;

/// Events that one `poll_oneoff` of WASI waits for.
///
/// Each takes some ten microseconds. A guest has three descriptors and some
/// clocks, and no files or sockets; more are refused with `INVAL`.
pub const WASI_SUBSCRIPTIONS_MAX: u32 = 64;

/// Bytes of a path in a call of WASI, as of Linux.
///
/// There are no files, but a path is validated before that is found out.
pub const WASI_PATH_BYTES_MAX: u32 = 4096;

/// Bytes of `random_get` of WASI that are filled in one step.
///
/// A buffer may have any size; between two pieces the instance can be suspended.
pub const WASI_RANDOM_PIECE_BYTES: usize = 64 * 1024;

/// Entries that wait in the wake queue of an instance, per kind.
///
/// A guest that never drains its queue while it makes new waits would grow the
/// host. The value is eight times the handle limit, which no honest guest
/// reaches; the one that does is ended.
pub const WAKE_QUEUE_MAX: usize = 8 * wapo_abi::HANDLES_MAX;

/// Groups of 4096 neighbouring waker ids of which some wait to be reported as released.
///
/// 512 bytes each, 1 MiB in all. Ids of honest guests are indices of a table in
/// their own memory, so that these are eight million calls in one poll; one that
/// scatters its ids is ended.
pub const RELEASED_CHUNKS_MAX: usize = 2048;

/// Codes that one `awake_wakers` answers with; the others follow at the next.
///
/// Bounds the answer, which is put together in one step. All wakes are among the
/// first, since the queue of those is not longer.
pub const WAKE_CODES_MAX: usize = 2 * WAKE_QUEUE_MAX;

/// Requests that wait for an instance to take them, per channel.
///
/// An embedder keeps further ones in a queue of its own, where any instance can
/// have them. What waits here is lost if its instance crashes, so it is only as
/// much as a guest that has been busy for a moment needs to go on at once.
pub const INBOX_CAPACITY: usize = 128;

/// Time without a transfer after which an accepted connection counts as idle,
/// unless its guest owes an answer.
///
/// An instance that leaves does not wait for idle connections. Clients that keep
/// a connection for their next request send it at once or seconds later.
pub const CONNECTION_QUIET: Duration = Duration::from_millis(500);

/// Memory that the host may keep for one instance at a time.
///
/// The largest blob twice: one that waits to be fetched and the next one. Without
/// a maximum an instance could hoard answers where the budget is unlimited.
pub const HOST_MEMORY_BYTES_MAX: u64 = 2 * BLOB_GET_BYTES_MAX;

/// Memory of the host for one instance that the budget does not see.
///
/// Ordinary requests need no more, so that apps still answer when their linear
/// memories have used up the budget. It is part of what an instance costs the
/// daemon itself, like its stack and its queues.
pub const HOST_MEMORY_FREE_BYTES: u64 = 64 * 1024;

/// Bytes of an answer that waits to be fetched without a charge.
///
/// There is one place for it per instance, and most answers are a few bytes.
pub const SMALL_ANSWER_BYTES: usize = 4 * 1024;

/// Bytes of each direction of an HTTP body that are charged from the start.
///
/// As much is always accepted, so that a body moves on however little memory is
/// left; the rest of [`PIPE_BYTES`] is charged when it is needed.
pub const PIPE_BASE_BYTES: usize = 4 * 1024;

/// Memory of a request that waits in a queue, besides its bytes.
pub const MESSAGE_OVERHEAD_BYTES: u64 = 256;

/// Memory of a connection out with a configuration of its own, besides what is read
/// from PEM.
pub const TLS_CLIENT_BYTES: u64 = 4 * 1024;

/// Memory of what is read from a byte of PEM: a root is kept as its name, key and
/// constraints, with a tree of tables around them.
pub const TLS_CLIENT_BYTES_PER_PEM_BYTE: u64 = 2;

/// Memory of a listener with TLS, besides the text of its certificate and key:
/// what the library makes of them, and its memory of sessions.
pub const TLS_LISTENER_BYTES: u64 = 128 * 1024;

/// Memory of TLS with a certificate that attests the app.
///
/// The certificate has 8 KiB with short arguments, and more with long ones; keys and
/// what tickets are sealed with are small.
pub const ATTESTED_TLS_BYTES: u64 = 64 * 1024;

/// Memory of a listener for a name on the shared TLS port, besides the texts of
/// its certificate and key.
///
/// Tickets keep sessions with the clients, so there is no memory of sessions. A
/// worker can have ten thousand names.
pub const SNI_LISTENER_BYTES: u64 = 8 * 1024;

/// Certificates of a chain for the shared TLS port.
///
/// Each is looked at while the guest waits; real chains have two to four.
pub const CHAIN_CERTIFICATES_MAX: usize = 10;

/// Header fields of a guest's answer to an HTTP request.
///
/// Clients and proxies have limits of about a hundred. Counted before memory is taken
/// for them.
pub const RESPONSE_HEADERS_MAX: usize = 256;

/// Bytes that each direction of an HTTP body may have in flight.
pub const PIPE_BYTES: usize = 64 * 1024;

/// Bytes of a blob that a guest may read in one piece.
///
/// The bytes wait in the host until the guest fetches them.
pub const BLOB_GET_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of one line in an app's log; longer ones are cut.
pub const LOG_LINE_BYTES_MAX: usize = caps::LOG_TEXT_BYTES_MAX - char::MAX.len_utf8();

/// Lines per second of an instance's log; more are counted and dropped.
pub const LOG_LINES_PER_SECOND: u32 = 1_000;

/// Bytes per second of an instance's log; lines beyond are counted and dropped.
pub const LOG_BYTES_PER_SECOND: usize = 256 * 1024;

/// Lines that are held back beyond the rate instead of being dropped: the last
/// ones, for the case that the instance ends.
///
/// A flood is followed by the reason of the end (a panic's message, a line on
/// standard error), which would be dropped with it. A stack trace of a library
/// fits.
pub const LOG_TAIL_LINES_MAX: usize = 64;

/// Bytes of the lines that are held back, for each instance.
///
/// Two lines of full length; 128 instances hold 4 MiB at most.
pub const LOG_TAIL_BYTES_MAX: usize = 2 * LOG_LINE_BYTES_MAX;

/// Locks that an app may hold at a time.
pub const LOCKS_MAX: usize = 64;

/// Time for name resolution and TCP connection together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for one question to the name servers, repetitions included.
///
/// Three tries of the usual five seconds; a second server gets its turn in it.
pub const DNS_TIMEOUT: Duration = Duration::from_secs(15);

/// Time that IPv4 addresses wait for an answer with IPv6 addresses.
///
/// RFC 8305, section 3.
pub const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// Time after which the next address of a name is dialled, too.
///
/// RFC 8305, section 5. An address that is silent costs this, not the attempt.
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Attempts to connect that one instance may have under way.
///
/// Each holds a descriptor or two for up to [`CONNECT_TIMEOUT`], and a stranger
/// decides how long. An instance with few descriptors has half of them for it.
pub const CONNECT_ATTEMPTS_MAX: usize = 1024;

/// Bytes of the system's configuration of name servers; real ones have some
/// hundred.
pub const RESOLV_CONF_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of the text about a failure that a guest may ask for.
pub const FAILURE_TEXT_BYTES_MAX: usize = 512;

/// The host's own lines about what it refused a guest, per second and instance.
///
/// A guest can be refused as often as it asks; its own lines must stay readable.
pub const NOTICES_PER_SECOND: u32 = 10;

/// Time between two looks of a listener whose guest may hold no more.
///
/// What the guest closes itself wakes it at once; this is for what others give back.
pub const ROOM_LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Time between two lines that connections wait because a guest may hold no more.
///
/// A busy server may be at its limit all day.
pub const ROOM_NOTICE_INTERVAL: Duration = Duration::from_secs(10);

/// Bytes of the head with which a proxy answers CONNECT.
///
/// They are read one by one, because what follows is the connection's. Proxies send
/// some hundred.
pub const PROXY_HEAD_BYTES_MAX: usize = 4 * 1024;

/// Addresses of one answer that are kept.
///
/// A name may have thousands. All that are kept are put to the policy; of those that it
/// allows [`CONNECT_ADDRESSES_MAX`] are tried.
pub const ANSWER_ADDRESSES_MAX: usize = 16;

/// Answers about names that one app keeps.
///
/// With a name, [`ANSWER_ADDRESSES_MAX`] addresses and the table, one takes 700 bytes
/// at most: 360 KB for an app.
pub const APP_ANSWERS_MAX: usize = 512;

/// Answers that an app may keep however many others keep.
pub const APP_ANSWERS_MIN: usize = 8;

/// Answers that all apps together keep: 11 MB at most.
pub const ANSWERS_MAX: usize = 16 * 1024;

/// Time for which an answer is kept, whatever its time to live says.
///
/// An operator who moves a host does not wait for longer. There is no least time: an
/// answer for no time is used once, and the rate of questions bounds what that costs.
pub const POSITIVE_TTL_MAX: Duration = Duration::from_secs(300);

/// The same for the answer that there is no such name (RFC 2308 proposes hours).
pub const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(60);

/// Questions to name servers that an app may ask in a second; a name has two of them.
///
/// Name servers are shared with everyone on the machine, and refuse or slow down
/// clients that ask too much.
pub const LOOKUPS_PER_SECOND: u32 = 100;

/// Questions that an app may ask at once after it has asked none for a while.
pub const LOOKUP_BURST: u32 = 400;

/// Time that a question waits for its turn by the rate; beyond it, it is refused.
pub const LOOKUP_WAIT_MAX: Duration = Duration::from_secs(5);

/// Questions of one app under way at a time.
///
/// Each has room for an answer of 64 KiB, and sockets ([`LOOKUP_SOCKETS_MAX`]), for up to
/// [`DNS_TIMEOUT`].
pub const LOOKUPS_UNDER_WAY_MAX: usize = 64;

/// Sockets of one question, each a descriptor of the instance that asks.
///
/// The resolver asks two servers at once, and each again and again from another socket
/// while it is silent. The first socket is for certain; the second one is for another
/// server, or asks again; without it a lost packet would cost the whole timeout.
pub const LOOKUP_SOCKETS_MAX: usize = 2;

/// Connections to name servers, for answers that are too long for a datagram.
///
/// All questions share them, for as long as the servers keep them open, and a server can
/// make every answer too long. They are the daemon's descriptors.
pub const NAME_SERVER_STREAMS_MAX: usize = 32;

/// Addresses of one name that are tried, of those that the policy allows.
///
/// A name may resolve to thousands; each attempt costs a socket. How many are looked
/// at is bounded by [`ANSWER_ADDRESSES_MAX`], for each of both families.
pub const CONNECT_ADDRESSES_MAX: usize = 8;

/// Time a TLS handshake may take from the moment the connection exists.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Time that a closed TLS stream gets to send what it had buffered.
///
/// Its descriptor and its memory stay counted for the instance for as long, so an app
/// whose clients take nothing has fewer connections itself and takes no other's.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(5);

/// Memory that the host needs for a TLS stream on which nothing waits to be sent:
/// the keys, and room for a part of a record.
///
/// An instance can hold 8,000 of them. An idle one takes about half of this; one
/// whose peer has sent a part of the largest record, and not the rest, half more.
pub const TLS_STREAM_BYTES: u64 = 16 * 1024;

/// Memory of a TLS stream, besides, while something waits for the socket.
///
/// The library takes 64 KiB of a guest's before it says that it is enough; records
/// add some bytes each.
pub const TLS_UNSENT_BYTES: u64 = 68 * 1024;

/// Bytes that are read of a TLS stream's socket at a time, ahead of the library, while
/// many come. They are charged besides, for as long as any of them waits.
///
/// A message of 64 KiB with what TLS adds to it comes in one piece; more was not faster.
/// Never more than the guest asks for at the moment, by the part that TLS adds, so a
/// guest that reads little leaves the rest to the kernel, as without TLS.
pub const TLS_AHEAD_BYTES: usize = 66 * 1024;

/// Bytes that come at once from which a TLS stream is read ahead.
///
/// As many as the library asks for at a time: for fewer there is nothing to gain.
pub const TLS_AHEAD_FROM_BYTES: usize = 4 * 1024;

/// Bytes that a TLS stream takes of a guest's without that charge when nothing else
/// waits.
///
/// So a stream moves on however little memory is left, and short messages cost no
/// bookkeeping.
pub const TLS_UNSENT_FREE_BYTES: usize = 4 * 1024;

/// Time whose use of a rate an app may save up: its bucket holds so much of it.
///
/// Half a second lets a page be answered at once, and is short enough that an
/// average of a few seconds is the rate.
pub const QUOTA_BURST: Duration = Duration::from_millis(500);

/// Bytes that the buckets of bytes hold at least, each way.
///
/// A record of TLS is 16 KiB; a slow app can still move one at a time, and answer
/// a small request without a pause.
pub const QUOTA_BYTES_BURST_MIN: u64 = 16 * 1024;

/// Time in which an app may draw half of what a rate of all apps has left.
pub const QUOTA_TICK: Duration = Duration::from_millis(10);

/// Time that an instance waits at least before it computes on, or a stream before
/// its guest is woken, when a rate is used up.
///
/// Shorter pauses would cost as much as the slices between them.
pub const QUOTA_PAUSE_MIN: Duration = Duration::from_millis(2);

/// Time after which a waiter for a rate looks again, however long the debt.
///
/// So a rate that an operator has raised holds within a second.
pub const QUOTA_LOOK_MAX: Duration = Duration::from_secs(1);

/// Bytes for which one more of the streams that wait for a rate is woken.
///
/// Of thousands that wait each tick wakes those that it has something for, the
/// longest waiting first.
pub const QUOTA_WAKE_BYTES: u64 = 4 * 1024;

/// Backlog of a listener.
pub const LISTEN_BACKLOG: i32 = 1024;

/// Bytes of the receive buffer of a UDP socket of a guest, as the system is asked for.
///
/// Datagrams wait there until the guest takes them, about two hundred of ordinary
/// length; more are dropped. Linux counts its own overhead and keeps twice as much.
pub const UDP_RECEIVE_BUFFER_BYTES: usize = 128 * 1024;

/// Bytes of the send buffer of a UDP socket of a guest, as the system is asked for.
///
/// The longest datagram has to fit.
pub const UDP_SEND_BUFFER_BYTES: usize = 96 * 1024;

/// Memory that a UDP socket may take: what the system makes of both buffers.
pub const UDP_SOCKET_BYTES: u64 = 2 * (UDP_RECEIVE_BUFFER_BYTES + UDP_SEND_BUFFER_BYTES) as u64;

/// Datagrams that one call sends or receives.
///
/// The kernel takes one to three microseconds for each, so that 32 are less than a
/// slice; more would save nothing that can be measured.
pub const UDP_BATCH_DATAGRAMS_MAX: usize = 32;

/// Addresses that a UDP socket remembers to have been allowed to send to.
///
/// A client socket hears from these only, as behind a firewall; 64 are more servers
/// than a client asks at a time. A datagram to one of them needs no check.
pub const UDP_PEERS_MAX: usize = 64;

/// Time for which an address that was allowed is not checked again.
///
/// What a check may depend on changes rarely: the addresses of the machine, which
/// are looked at every five seconds, and the rules of the app.
pub const UDP_VERDICT_TIME: Duration = Duration::from_secs(1);

/// Seconds of silence after which a peer may be asked whether it is there.
///
/// Nine hours, the most that Linux takes.
pub const KEEPALIVE_SECS_MAX: u32 = 32_767;

/// Connections of one listener whose PROXY header is still to come.
///
/// Each has a descriptor, which is taken when the listener is made. Proxies send the
/// header at once; for a further connection the oldest leaves of which nothing has come.
pub const LISTENER_HEADERS_MAX: usize = 16;

/// Tables that a module may have; compilers make one.
pub const TABLES_MAX: u32 = 4;

/// Elements of one table of a guest.
///
/// Function tables of large programs (interpreters) have some ten thousand
/// entries of 8 bytes.
pub const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Bytes of the engine's own data about an instance: globals, and a reference
/// for each function whose address is taken.
///
/// A table full of functions of its own has 100,000 references of 32 bytes; the
/// rest is room for a thousand globals and what is exported.
pub const INSTANCE_BYTES_MAX: usize = TABLE_ELEMENTS_MAX * 40;

/// Stack of wasm code.
///
/// Interpreters and parsers recurse in it; 2 MiB are what a thread of a native program
/// has. An instance keeps the pages that it has touched until it ends, so what is
/// beyond [`STACK_FREE_BYTES`] is on the budget of memory.
pub const WASM_STACK_BYTES: usize = 2 * 1024 * 1024;

/// Stack of an instance: wasm plus the host calls it makes, which have as much as they
/// ever had.
pub const FIBER_STACK_BYTES: usize = WASM_STACK_BYTES + 512 * 1024;

/// As [`WASM_STACK_BYTES`], in an enclave: its memory is small and taken when it is
/// mapped, and nothing tells how much of a stack was touched.
pub const ENCLAVE_WASM_STACK_BYTES: usize = 512 * 1024;

/// As [`FIBER_STACK_BYTES`], in an enclave.
pub const ENCLAVE_FIBER_STACK_BYTES: usize = ENCLAVE_WASM_STACK_BYTES + 512 * 1024;

/// Bytes of its stack that an instance may have touched without a charge.
///
/// They are part of what an instance costs the daemon itself. Ordinary programs touch
/// some 16 KiB.
pub const STACK_FREE_BYTES: u64 = 64 * 1024;

/// Stack that the engine takes between the place from which it counts a guest's stack
/// and the first function that it calls.
///
/// What `stack_left` answers is so much less than there is at least. Some hundred bytes
/// are usual, more where the host is compiled without optimisation.
pub const STACK_ENTRY_BYTES: usize = 8 * 1024;

/// First wait before a crashed guest is started again; doubled each time.
pub const RESTART_BACKOFF_MIN: Duration = Duration::from_millis(100);

/// Longest wait before a crashed guest is started again.
pub const RESTART_BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Life of an instance that has answered a request after which the guest's own limit for
/// a poll ends it without a pause before the next start.
///
/// One bad request does not take an app away from all others. An app that did so on
/// purpose would cost ten starts a second, as many as its clients may have answers.
pub const POLL_LIMIT_LIFE_MIN: Duration = Duration::from_millis(100);

/// The same for an instance that has answered none: it may have served connections of
/// its own, which the host does not know.
pub const POLL_LIMIT_SILENT_LIFE_MIN: Duration = Duration::from_secs(1);

/// Time of health after which the next crash counts as the first.
pub const RESTART_BACKOFF_RESET: Duration = Duration::from_secs(60);
