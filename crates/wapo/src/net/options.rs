//! What can be chosen for a listener, and for a stream.

use std::io;
use std::time::Duration;

use wapo_abi::message::{ListenOptions as Message, TlsServerConfig};

use super::failure;
use super::stream::TcpStream;
use crate::sys::calls;

/// Numbers of the options of a stream.
const NODELAY: u16 = 1;
const KEEPALIVE: u16 = 2;

/// What the host speaks TLS with.
#[derive(Clone, Debug)]
pub(super) enum PortTls {
    Provided(TlsServerConfig),
    Attested(Vec<String>),
}

/// How a [`TcpListener`](super::TcpListener) listens.
///
/// A port can always be bound again at once after a restart, and `[::]` serves IPv4 as
/// well; neither needs an option.
#[derive(Clone, Debug, Default)]
pub struct ListenOptions {
    tls: Option<PortTls>,
    backlog: Option<u32>,
    delays_writes: bool,
    keepalive_secs: Option<u32>,
    proxy_header: bool,
}

impl ListenOptions {
    /// As [`TcpListener::bind`](super::TcpListener::bind) listens.
    pub fn new() -> Self {
        Self::default()
    }

    /// Speaks TLS by the host, with this certificate and key.
    #[must_use]
    pub fn tls(mut self, identity: impl Into<TlsServerConfig>) -> Self {
        self.tls = Some(PortTls::Provided(identity.into()));
        self
    }

    /// Speaks TLS by the host, with a certificate that proves which app serves: it has the
    /// app's key, its evidence, and these host names and addresses, at most 16, or none. The
    /// worker makes it, keeps the key to itself, and keeps the certificate new.
    /// [`bind_with`](super::TcpListener::bind_with) fails with
    /// [`UNSUPPORTED_OPERATION`](crate::Error::UNSUPPORTED_OPERATION) where the worker can
    /// prove nothing.
    #[must_use]
    pub fn attested<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        self.tls = Some(PortTls::Attested(names));
        self
    }

    /// How many connections wait to be accepted, 1 to 1024; more clients wait for
    /// their turn, or give up. All instances of the app share it.
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = Some(connections);
        self
    }

    /// Lets the kernel hold small writes back until it has more (Nagle's algorithm).
    #[must_use]
    pub fn delayed_writes(mut self) -> Self {
        self.delays_writes = true;
        self
    }

    /// Has silent peers asked after this time whether they are still there; a peer that
    /// does not answer is an error of the next read. Counted in seconds, up to 32,767.
    #[must_use]
    pub fn keepalive(mut self, time: Duration) -> Self {
        self.keepalive_secs = Some(u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
        self
    }

    /// Takes PROXY headers (version 1 or 2) from proxies that the operator trusts:
    /// the peer of an accepted connection is then the client that the header names.
    /// From other peers no header is read.
    #[must_use]
    pub fn proxy_header(mut self) -> Self {
        self.proxy_header = true;
        self
    }

    pub(super) fn into_parts(self) -> (Option<PortTls>, Message) {
        let options = Message::V0 {
            backlog: self.backlog,
            nodelay: !self.delays_writes,
            keepalive_secs: self.keepalive_secs,
            proxy_header: self.proxy_header,
        };
        (self.tls, options)
    }
}

impl TcpStream {
    /// Whether small writes are sent at once, which they are from the start.
    ///
    /// # Errors
    ///
    /// When TLS by the host has failed.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.set_option(NODELAY, i32::from(nodelay))
    }

    /// Has a silent peer asked after this time whether it is still there, or not.
    /// Counted in seconds, from one up to 32,767.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for any other time; when TLS by the host has failed.
    pub fn set_keepalive(&self, time: Option<Duration>) -> io::Result<()> {
        let secs = match time {
            None => 0,
            Some(time) => match i32::try_from(time.as_secs()) {
                Ok(secs) if secs > 0 => secs,
                _ => return Err(io::ErrorKind::InvalidInput.into()),
            },
        };
        self.set_option(KEEPALIVE, secs)
    }

    fn set_option(&self, option: u16, value: i32) -> io::Result<()> {
        let set = calls::stream_option(self.handle(), option, value);
        set.map_err(|error| failure::io_error(self.handle(), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_were_not_chosen_are_those_of_the_contract() {
        let (tls, options) = ListenOptions::new().into_parts();
        assert!(tls.is_none());
        assert_eq!(options, Message::default());
        let options = ListenOptions::new()
            .backlog(5)
            .delayed_writes()
            .keepalive(Duration::from_millis(60_900))
            .proxy_header();
        let expected = Message::V0 {
            backlog: Some(5),
            nodelay: false,
            keepalive_secs: Some(60),
            proxy_header: true,
        };
        assert_eq!(options.into_parts().1, expected);
    }
}
