//! The largest slice that each host call takes, as the table of calls names it.
//!
//! The host compares the length of a slice with its cap before it reads one byte
//! of it, because a step of the host cannot be interrupted: what a guest hands
//! over in one call has to be small enough to be looked at in one step. A row
//! either refuses a longer slice or cuts it ([`Excess`]).
//!
//! Caps that guests were released against are locked in `tests/abi.snap`. None
//! of them is below what a program sends that does what the call is for.

use crate::Errno;

/// The bound of a slice argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cap {
    /// Bytes that the host looks at, at most.
    pub bytes: usize,
    /// What happens to a slice that is longer.
    pub excess: Excess,
}

/// What happens to a slice that is longer than its cap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Excess {
    /// The call fails with this error; nothing of the slice was read.
    Refused(Errno),
    /// The call goes on with the part in front. Text is cut between characters.
    Cut,
}

/// Bytes that one call reads from a stream, or writes to one.
///
/// Both answer how many bytes it were, so that the rest is asked for again.
/// Copying 1 MiB takes about 0.1 ms, a slice; buffers of sockets rarely hold more.
pub const TRANSFER_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of random data that one call makes.
///
/// 1 MiB takes half a millisecond. Keys and seeds have some dozen bytes; a program
/// that wants noise by the megabyte seeds a generator of its own.
pub const RANDOM_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of the buffer into which events are written.
///
/// As many events as the host keeps for an instance; a longer buffer is of no use.
pub const EVENTS_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of one answer to a query or of a response head.
///
/// They are copied out of the guest in one step and wait in the host until the
/// client has taken them. 16 MiB is what queries and their answers may have.
pub const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of the text with which a guest fails a request.
///
/// The text is validated in one step, goes to a client and into a log; more than
/// 64 KiB is no useful message.
pub const ERROR_TEXT_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the encoded trailers of a response.
///
/// They wait in the host until the client has taken the body. Servers limit
/// heads, which hold far more, to about as much.
pub const TRAILERS_BYTES_MAX: usize = 16 * 1024;

/// Bytes of the encoded arguments of a call.
///
/// Room for a certificate chain and a key of [`PEM_BYTES_MAX`] together, as they
/// are in practice: a chain has 5 KiB, rarely 20.
pub const ENCODED_BYTES_MAX: usize = 100 * 1024;

/// Bytes of a certificate chain, and of a key, in PEM.
///
/// Parsing and checking them takes time that grows with their number; 64 KiB is
/// a chain of some thirty certificates. Checked by the calls that take them.
pub const PEM_BYTES_MAX: usize = 64 * 1024;

/// Protocols among which a listener chooses, or that a connection out offers (ALPN), and
/// bytes of the name of one.
///
/// A handshake compares each with each of the client's.
pub const PROTOCOLS_MAX: usize = 16;
/// See [`PROTOCOLS_MAX`]; the length that the protocol has room for.
pub const PROTOCOL_BYTES_MAX: usize = 255;

/// Bytes of a host name (RFC 1035, section 2.3.4).
pub const HOST_BYTES_MAX: usize = 253;

/// Bytes of the text of one log call that are looked at.
///
/// A line of the log has at most 16 KiB; four bytes more (one character of any
/// kind) tell the log that there was more, so that it can say so.
pub const LOG_TEXT_BYTES_MAX: usize = 16 * 1024 + 4;

/// Bytes of output that a guest hands over in one call.
///
/// They are copied while the guest stands still. More is cut: the call has
/// nothing to answer with, and a guest of Wapo 0.x does not expect it to fail.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of data that a guest may have signed or quoted.
///
/// The data is hashed while the guest runs; 64 KiB take less than a slice.
/// Sign a hash to sign more.
pub const SIGN_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the nonce of evidence.
///
/// A hash of any kind, and as much as evidence has room for.
pub const EVIDENCE_NONCE_BYTES_MAX: usize = 64;

/// Bytes of the path of a derived secret, as in Wapo 0.x.
pub const SECRET_PATH_BYTES_MAX: usize = 256;

/// Bytes of the name of a blob.
///
/// An algorithm, a colon and 128 hexadecimal digits are the longest that exists.
pub const BLOB_NAME_BYTES_MAX: usize = 256;

/// Bytes of the sealed record of an app, as in Wapo 0.x.
pub const BOOT_DATA_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the name of a lock, as in Wapo 0.x.
pub const LOCK_NAME_BYTES_MAX: usize = 64;

/// Bytes of the datagrams that one call sends or receives, their headers included.
///
/// Four of the largest, or some hundred ordinary ones: the number of datagrams in one
/// call has a bound of its own. Copying and sending as much takes about a slice.
pub const UDP_BATCH_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a time in nanoseconds.
pub const CPU_TIME_BYTES: usize = size_of::<u64>();

/// Bytes of a literal address and port.
///
/// The longest one, of IPv6 with a scope, has 58.
pub const ADDRESS_BYTES_MAX: usize = 64;

/// Bytes of a host name or address with a port behind it.
pub const TARGET_BYTES_MAX: usize = HOST_BYTES_MAX + 8;
