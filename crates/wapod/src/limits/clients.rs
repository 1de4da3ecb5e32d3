//! Bounds of what the clients of a port can make the daemon keep.

use std::time::Duration;

/// Connections to the user port at a time, unless the operator says otherwise.
///
/// Each costs a file descriptor and some ten KiB. For a further one, a connection
/// leaves for whose client the daemon waits; while it waits for none, newcomers
/// wait in the kernel's queue.
pub const CONNECTIONS_MAX: u32 = 4096;

/// What an operator may say instead.
///
/// With a million connections, the bytes that each may keep without being counted
/// ([`HEAD_FREE_BYTES`], [`UNREAD_FREE_BYTES`]) are 48 GiB, more than machines spare
/// for it.
pub const CONNECTIONS_RANGE: std::ops::RangeInclusive<u32> = 1..=1_000_000;

/// Connections of one client to a port at a time: of an IPv4 address, or of a
/// network of 64 bits in IPv6.
///
/// Offices behind one address have some hundred. Loopback and trusted proxies
/// have no bound of their own.
pub const CLIENT_CONNECTIONS_MAX: usize = 512;

/// Connections that leave at once, at most, when there is no place for a newcomer.
///
/// Finding the one that waits the longest is a look at all of them, which newcomers
/// of a flood share in this way.
pub const CONNECTIONS_DISPLACED_AT_ONCE: usize = 32;

/// Bytes of bodies of calls at the user port that the daemon holds, from when
/// they arrive until the call is answered.
///
/// A dozen of the largest queries. Without it, strangers fill the memory with
/// calls that they never finish. Bodies for apps are streamed and not counted.
pub const BODIES_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// The same of one client.
pub const BODIES_CLIENT_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// What of a budget only small bodies may take; see [`SMALL_BODY_BYTES_MAX`].
///
/// Five hundred of them, while large ones have taken the rest.
pub const BODIES_SMALL_BYTES: u64 = 32 * 1024 * 1024;

/// Bytes of a body that counts as small, which nearly all of them are.
pub const SMALL_BODY_BYTES_MAX: usize = 64 * 1024;

/// Bytes of bodies of calls at the admin port.
///
/// Two of the largest blobs that fit a call. Others are streamed to the disk.
pub const ADMIN_BODIES_BYTES_MAX: u64 = 160 * 1024 * 1024;

/// Bytes of answers of a port that wait for their clients to take them.
///
/// An answer to a query may have 16 MiB, and twice as much in JSON. Without it,
/// clients that ask and do not read fill the memory.
pub const ANSWERS_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// The same of one client.
pub const ANSWERS_CLIENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of an answer for which there must be room before an app is asked.
///
/// Most answers are smaller. Larger ones wait for room when the app has answered.
pub const ANSWER_ROOM_BYTES: usize = 16 * 1024;

/// Time that an answer waits until it can be encoded, signed and kept, when what was
/// asked has been done.
///
/// A client that is refused then has to ask again, and what was asked is done twice.
/// Clients that take nothing of what fills the room are given up before
/// ([`WRITE_TIMEOUT`](super::WRITE_TIMEOUT)).
pub const ANSWER_WAIT: Duration = Duration::from_secs(75);

/// Bytes of the head of a request that a connection keeps without being counted,
/// while the head has not come to its end.
///
/// Nearly all heads are smaller, and come at once. All connections together keep 64
/// MiB in this way, where there are [`CONNECTIONS_MAX`].
pub const HEAD_FREE_BYTES: usize = 16 * 1024;

/// Bytes of unfinished heads of a port beyond that.
///
/// Room for more than a thousand of the largest ([`HEAD_BYTES_MAX`](super::HEAD_BYTES_MAX)). Without it, as many
/// as there are connections would take 256 MiB.
pub const HEADS_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The same of one client.
pub const HEADS_CLIENT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes of bodies that a connection of HTTP/2 keeps without being counted, while
/// nobody takes them.
///
/// What an app takes as it comes is less most of the time. All connections together
/// keep 128 MiB in this way, where there are [`CONNECTIONS_MAX`].
pub const UNREAD_FREE_BYTES: u64 = 32 * 1024;

/// Bytes of such bodies of a port beyond that.
///
/// Eight connections that use all their windows ([`CONNECTION_WINDOW_BYTES`](super::CONNECTION_WINDOW_BYTES)). Where
/// there is no room, a connection is not read until something is taken.
pub const UPLOADS_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// The same of one client.
pub const UPLOADS_CLIENT_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// What of that only connections with little of it may take
/// ([`SMALL_BODY_BYTES_MAX`]).
pub const UPLOADS_SMALL_BYTES: u64 = 32 * 1024 * 1024;
