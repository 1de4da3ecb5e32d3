//! From bytes as they come to a ClientHello, or to the alert for the client.
//!
//! TLS puts messages into records, and a message may go on in the next record, so
//! the headers of records are taken out first. Every length is compared with its
//! limit when it is announced, before what it announces is kept. Each byte is
//! looked at once, however small the pieces are. What the message says is read by
//! `hello`.

use crate::alert::Alert;
use crate::hello::ClientHello;
use crate::limits::{HELLO_BYTES_MAX, RECORD_BYTES_MAX};
use crate::name::NameError;

/// The header of a record: its kind, a version that means nothing, a length.
const RECORD_HEADER_BYTES: usize = 5;
/// The header of a message of the handshake: its kind, a length.
const MESSAGE_HEADER_BYTES: usize = 4;
/// The kind of records with messages of the handshake.
const HANDSHAKE: u8 = 22;
/// The kind of the message that a client begins with.
const CLIENT_HELLO: u8 = 1;
/// All versions of TLS, and of SSL with such records, have this first number.
const VERSION_MAJOR: u8 = 3;

/// Reads the ClientHello at the beginning of a connection.
///
/// ```
/// use wapo_sni::{HelloReader, Progress};
/// # fn connection() -> &'static [u8] { b"GET / HTTP/1.1\r\n" }
/// let mut reader = HelloReader::default();
/// let answer = loop {
///     // Never more than fits: what comes behind the hello is not for the reader.
///     let some = &connection()[..reader.room().min(4)];
///     match reader.read(some) {
///         Ok(Progress::More(again)) => reader = again,
///         Ok(Progress::Done(hello)) => break format!("{:?}", hello.server_name()),
///         Err(error) => break format!("{error}: alert {}", error.alert().number()),
///     }
/// };
/// assert_eq!(answer, "the client does not begin with a ClientHello: alert 10");
/// ```
#[derive(Clone, Default, Debug)]
pub struct HelloReader {
    /// All that came.
    bytes: Vec<u8>,
    /// Bytes of it that have been read.
    read: usize,
    /// Bytes of the present record that have not been read.
    in_record: usize,
    /// The message, without the headers of records, as far as it came.
    message: Vec<u8>,
}

/// How far a reader is.
#[derive(Clone, Debug)]
pub enum Progress {
    /// The hello goes on.
    More(HelloReader),
    /// It is complete.
    Done(ClientHello),
}

/// Why a client's first bytes are no ClientHello. The connection is of no use any
/// more but for the [`alert`](Self::alert).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HelloError {
    /// Another protocol, or another message of TLS.
    #[error("the client does not begin with a ClientHello")]
    NotHello,
    /// Records of no version of TLS.
    #[error("the client's records are of no version of TLS")]
    RecordVersion,
    /// A record announces more than a record has.
    #[error("a record is longer than {RECORD_BYTES_MAX} bytes")]
    RecordTooLong,
    /// A hello that nobody needs.
    #[error("the ClientHello is longer than {HELLO_BYTES_MAX} bytes")]
    TooLong,
    /// A length that does not fit, or a list without anything where that is wrong.
    #[error("the ClientHello cannot be read")]
    Malformed,
    /// An extension that is there twice, so that it means two things.
    #[error("an extension is there twice")]
    Duplicate,
    /// The server's name is none.
    #[error("the server name is not valid: {0}")]
    Name(NameError),
}

impl HelloError {
    /// What the client is told.
    pub const fn alert(self) -> Alert {
        match self {
            Self::NotHello => Alert::UNEXPECTED_MESSAGE,
            Self::RecordVersion => Alert::PROTOCOL_VERSION,
            Self::RecordTooLong => Alert::RECORD_OVERFLOW,
            Self::Malformed => Alert::DECODE_ERROR,
            // Clients that connect to an address are told what they can understand.
            Self::Name(NameError::IsAddress) => Alert::UNRECOGNIZED_NAME,
            Self::TooLong | Self::Duplicate | Self::Name(_) => Alert::ILLEGAL_PARAMETER,
        }
    }
}

impl HelloReader {
    /// Bytes that it takes at most: 1 to [`HELLO_BYTES_MAX`].
    pub fn room(&self) -> usize {
        HELLO_BYTES_MAX - self.bytes.len()
    }

    /// Takes some bytes of the connection, at most as many as there is
    /// [`room`](Self::room) for.
    ///
    /// # Errors
    ///
    /// [`HelloError`]. What it says does not depend on the pieces in which the
    /// bytes come.
    pub fn read(mut self, bytes: &[u8]) -> Result<Progress, HelloError> {
        if bytes.len() > self.room() {
            return Err(HelloError::TooLong);
        }
        self.bytes.extend_from_slice(bytes);
        loop {
            let unread = &self.bytes[self.read..];
            if self.in_record == 0 {
                let Some(length) = record_length(unread)? else {
                    break;
                };
                self.in_record = length;
                self.read += RECORD_HEADER_BYTES;
                continue;
            }
            let part = &unread[..unread.len().min(self.in_record)];
            if part.is_empty() {
                break;
            }
            self.message.extend_from_slice(part);
            self.read += part.len();
            self.in_record -= part.len();
            let Some(length) = message_length(&self.message)? else {
                continue;
            };
            if let Some(body) = self.message.get(MESSAGE_HEADER_BYTES..length) {
                return ClientHello::read(body, self.bytes).map(Progress::Done);
            }
        }
        match self.room() {
            0 => Err(HelloError::TooLong),
            _ => Ok(Progress::More(self)),
        }
    }
}

/// The length of the content of a record; `None` while its header is not complete.
fn record_length(header: &[u8]) -> Result<Option<usize>, HelloError> {
    // What is no TLS is told by its first byte: its sender waits.
    if header.first().is_some_and(|kind| *kind != HANDSHAKE) {
        return Err(HelloError::NotHello);
    }
    if header.get(1).is_some_and(|major| *major != VERSION_MAJOR) {
        return Err(HelloError::RecordVersion);
    }
    let Some(header) = header.first_chunk::<RECORD_HEADER_BYTES>() else {
        return Ok(None);
    };
    match usize::from(u16::from_be_bytes([header[3], header[4]])) {
        // Such a record must not be, and could be sent for ever.
        0 => Err(HelloError::Malformed),
        length @ 1..=RECORD_BYTES_MAX => Ok(Some(length)),
        _ => Err(HelloError::RecordTooLong),
    }
}

/// The length of a message with its header; `None` while that is not complete.
fn message_length(message: &[u8]) -> Result<Option<usize>, HelloError> {
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(HelloError::NotHello);
    }
    let Some([_, length @ ..]) = message.first_chunk::<MESSAGE_HEADER_BYTES>() else {
        return Ok(None);
    };
    let length = length
        .iter()
        .fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
    let length = MESSAGE_HEADER_BYTES + length;
    match length + RECORD_HEADER_BYTES <= HELLO_BYTES_MAX {
        true => Ok(Some(length)),
        false => Err(HelloError::TooLong),
    }
}
