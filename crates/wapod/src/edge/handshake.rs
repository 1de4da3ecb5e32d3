//! The TLS handshake at the shared port.
//!
//! Reads a ClientHello from a connection, makes the handshake with the configuration
//! that the caller has for it, and tells a client by an alert why there is none. A key
//! whose signatures take milliseconds is used on a thread of its own, also where the
//! client has to send a second ClientHello first. Knows no names and no apps. Called by
//! `port`.

use std::io;
use std::sync::Arc;

use rustls::server::{Accepted, AcceptedAlert, Acceptor};
use rustls::{HandshakeKind, ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, StartHandshake, TlsAcceptor};
use wapo_sni::{Alert, ClientHello, HelloReader, Progress};

use super::figures::Outcome;
use crate::api::Clients;
use crate::limits::TLS_HANDSHAKE_TIMEOUT;

/// Bytes that are read at a time of what a client says first.
const PIECE_BYTES: usize = 2048;
/// Bytes that are thrown away of a client that has got an alert: the kernel tells
/// a client of a reset in place of the alert while some are unread.
const UNREAD_BYTES_MAX: usize = 64 * 1024;
/// The record that clients may send before a second ClientHello, for the sake of
/// machines in between (RFC 8446, appendix D.4). It says nothing.
const CHANGE_CIPHER_SPEC: [u8; 6] = [20, 3, 3, 0, 1, 1];

/// Why a connection has not come to a guest.
pub(super) struct Failed {
    pub(super) outcome: Outcome,
    /// What the client is told, while nobody has begun to speak TLS with it.
    pub(super) alert: Option<(TcpStream, Alert)>,
}

impl Failed {
    /// The client is to be told why.
    pub(super) fn told(outcome: Outcome, tcp: TcpStream, alert: Alert) -> Self {
        let alert = Some((tcp, alert));
        Self { outcome, alert }
    }
}

impl From<Outcome> for Failed {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            alert: None,
        }
    }
}

/// Reads a client's first words.
///
/// # Errors
///
/// What the client is to be told; nothing when it has left.
///
/// # Cancel safety
///
/// What was read is lost with the future.
pub(super) async fn read_hello(tcp: &TcpStream) -> Result<ClientHello, Option<Alert>> {
    read_behind(tcp, &[]).await
}

/// Reads a ClientHello, behind a `prefix` that may be left out.
async fn read_behind(
    tcp: &TcpStream,
    mut prefix: &'static [u8],
) -> Result<ClientHello, Option<Alert>> {
    let prefix_bytes = prefix.len();
    let mut reader = HelloReader::default();
    loop {
        if tcp.readable().await.is_err() {
            return Err(None);
        }
        let mut piece = [0; PIECE_BYTES];
        let room = reader.room().min(PIECE_BYTES);
        let count = match tcp.try_read(&mut piece[..room]) {
            Ok(0) => return Err(None),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return Err(None),
        };
        let mut said = &piece[..count];
        let both = prefix.len().min(count);
        if said[..both] == prefix[..both] {
            (prefix, said) = (&prefix[both..], &said[both..]);
        } else if prefix.len() == prefix_bytes {
            prefix = &[];
        } else {
            return Err(Some(Alert::UNEXPECTED_MESSAGE));
        }
        match reader.read(said) {
            Ok(Progress::More(again)) => reader = again,
            Ok(Progress::Done(hello)) => return Ok(hello),
            Err(error) => {
                tracing::debug!(%error, "no ClientHello at the TLS port");
                return Err(Some(error.alert()));
            }
        }
    }
}

/// Makes the handshake, beginning with the bytes that were read already. `slow` has
/// threads for a signature that takes long.
///
/// # Errors
///
/// [`Failed`].
///
/// # Cancel safety
///
/// The connection is closed when the future is dropped.
pub(super) async fn shake_hands<Io: AsyncRead + AsyncWrite + Unpin>(
    tcp: TcpStream,
    hello: &ClientHello,
    config: Arc<ServerConfig>,
    slow: Option<&Clients>,
    wrap: fn(TcpStream) -> Io,
) -> Result<TlsStream<Io>, Failed> {
    let mut acceptor = Acceptor::default();
    let mut bytes = hello.bytes();
    while !bytes.is_empty() {
        let read = acceptor.read_tls(&mut bytes);
        if read.is_err() || read.is_ok_and(|count| count == 0) {
            return Err(Failed::told(Outcome::BadHello, tcp, Alert::DECODE_ERROR));
        }
    }
    let accepted = match acceptor.accept() {
        Ok(Some(accepted)) => accepted,
        // The library wants more, or takes less, than the reader did.
        Ok(None) => {
            return Err(Failed::told(Outcome::BadHello, tcp, Alert::DECODE_ERROR));
        }
        Err((error, alert)) => {
            tracing::debug!(%error, "a ClientHello that the TLS library does not take");
            tell_library(&tcp, alert);
            return Err(Outcome::BadHello.into());
        }
    };
    let shaking = async {
        let shaking = match slow {
            // The server's answer is made here, signature and all.
            None => StartHandshake::from_parts(accepted, wrap(tcp)).into_stream(config),
            Some(clients) => sign_apart(tcp, accepted, config, clients, wrap).await?,
        };
        shaking.await.map_err(|error| {
            tracing::debug!(%error, "a handshake at the TLS port failed");
            Outcome::HandshakeFailed.into()
        })
    };
    let shaken = timeout(TLS_HANDSHAKE_TIMEOUT, shaking).await;
    shaken.unwrap_or_else(|_| Err(Outcome::Timeout.into()))
}

/// Answers the client up to the signature, which is made on a thread for heavy work; the
/// rest is that of any handshake.
async fn sign_apart<Io: AsyncRead + AsyncWrite + Unpin>(
    mut tcp: TcpStream,
    accepted: Accepted,
    config: Arc<ServerConfig>,
    clients: &Clients,
    wrap: fn(TcpStream) -> Io,
) -> Result<Accept<Io>, Failed> {
    let for_first = Arc::clone(&config);
    let answer = move || accepted.into_connection(for_first);
    let mut session = match clients.do_heavy(answer).await.ok_or(Outcome::Full)? {
        Ok(session) => session,
        Err((error, alert)) => {
            tracing::debug!(%error, "a handshake at the TLS port failed");
            tell_library(&tcp, alert);
            return Err(Outcome::HandshakeFailed.into());
        }
    };
    if session.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest) {
        (tcp, session) = answer_again(tcp, session, clients).await?;
    }
    let acceptor = TlsAcceptor::from(config);
    Ok(acceptor.accept_with(wrap(tcp), |begun| *begun = session))
}

/// Asks for the second ClientHello, and answers that.
async fn answer_again(
    tcp: TcpStream,
    mut session: ServerConnection,
    clients: &Clients,
) -> Result<(TcpStream, ServerConnection), Failed> {
    if send(&tcp, &take_unsent(&mut session)).await.is_err() {
        return Err(Outcome::HandshakeFailed.into());
    }
    // All of it, before a thread is asked for: a slow client has none.
    let bytes = match read_behind(&tcp, &CHANGE_CIPHER_SPEC).await {
        Ok(hello) => hello.into_bytes(),
        Err(None) => return Err(Outcome::HandshakeFailed.into()),
        Err(Some(alert)) => return Err(Failed::told(Outcome::HandshakeFailed, tcp, alert)),
    };
    let answer = move || {
        let mut bytes = &*bytes;
        while !bytes.is_empty() && session.read_tls(&mut bytes).is_ok_and(|count| count > 0) {}
        let answered = session.process_new_packets().map(drop);
        (session, answered)
    };
    let (mut session, answered) = clients.do_heavy(answer).await.ok_or(Outcome::Full)?;
    if let Err(error) = answered {
        tracing::debug!(%error, "a second ClientHello that the TLS library does not take");
        let _ = tcp.try_write(&take_unsent(&mut session));
        forget_unread(&tcp);
        return Err(Outcome::HandshakeFailed.into());
    }
    Ok((tcp, session))
}

/// What the library wants to send, a few hundred bytes.
fn take_unsent(session: &mut ServerConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A vector takes all of it.
    while session.wants_write() && session.write_tls(&mut bytes).is_ok_and(|count| count > 0) {}
    bytes
}

async fn send(tcp: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        tcp.writable().await?;
        match tcp.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends an alert, if the socket takes it at once.
pub(super) fn tell(tcp: &TcpStream, alert: Alert) {
    let _ = tcp.try_write(&alert.record());
    forget_unread(tcp);
}

/// The same with an alert of the library.
fn tell_library(tcp: &TcpStream, mut alert: AcceptedAlert) {
    let mut bytes = Vec::new();
    // A vector takes all of it.
    let _ = alert.write_all(&mut bytes);
    let _ = tcp.try_write(&bytes);
    forget_unread(tcp);
}

fn forget_unread(tcp: &TcpStream) {
    let mut piece = [0; PIECE_BYTES];
    for _ in 0..UNREAD_BYTES_MAX / PIECE_BYTES {
        if !tcp.try_read(&mut piece).is_ok_and(|count| count > 0) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
