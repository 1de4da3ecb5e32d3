//! Messages that cross the boundary as SCALE values.
//!
//! Layouts are fixed: fields in order, no versioning other than the enum index
//! of the TLS configurations. Used by guest and host; the vectors in the tests
//! below were computed for guests of Wapo 0.x and must never change.

use alloc::string::String;
use alloc::vec::Vec;

use parity_scale_codec::{Decode, Encode};

/// Kind of an input channel, as the argument of `create_input_channel`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum InputChannel {
    /// [`QueryRequest`]s.
    Query = 3,
    /// [`HttpRequest`]s.
    HttpRequest = 4,
}

impl InputChannel {
    /// The channel of a number, if there is one.
    pub const fn from_u32(number: u32) -> Option<Self> {
        match number {
            3 => Some(Self::Query),
            4 => Some(Self::HttpRequest),
            _ => None,
        }
    }
}

/// Severity of a log line, as the argument of `log`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something failed.
    Error = 1,
    /// Something is suspicious.
    Warn = 2,
    /// Worth knowing.
    Info = 3,
    /// For debugging.
    Debug = 4,
    /// Everything.
    Trace = 5,
}

impl LogLevel {
    /// The level of a number, if there is one.
    pub const fn from_u32(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Error),
            2 => Some(Self::Warn),
            3 => Some(Self::Info),
            4 => Some(Self::Debug),
            5 => Some(Self::Trace),
            _ => None,
        }
    }
}

/// A query that the guest is asked to answer.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct QueryRequest {
    /// Account that signed the query, when it was signed.
    pub origin: Option<[u8; 32]>,
    /// What is asked.
    pub path: String,
    /// Argument bytes, opaque to the host.
    pub payload: Vec<u8>,
    /// Handle of the oneshot sender for the answer.
    pub reply_tx: i32,
}

/// Head of an HTTP request from the gateway.
///
/// `T` is a text in whatever form suits its owner: all have the same encoding.
/// Slices encode without a copy of each field; shared bytes decode so, and are
/// not checked to be UTF-8.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct HttpHeadOf<T> {
    /// Method in capitals.
    pub method: T,
    /// Absolute URL.
    pub url: T,
    /// Names in lower case, values as received, duplicates kept.
    pub headers: Vec<(T, T)>,
}

/// Head of an HTTP request, in texts of its own.
pub type HttpHead = HttpHeadOf<String>;

impl HttpHead {
    /// The first header of a name, in whatever case it is written.
    pub fn get_header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// An HTTP request that the guest is asked to answer; `T` as in [`HttpHeadOf`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct HttpRequestOf<T> {
    /// Method, URL, headers.
    pub head: HttpHeadOf<T>,
    /// Handle of the oneshot sender for an [`HttpResponseHead`].
    pub response_tx: i32,
    /// Handle of a stream: reads give the request body, writes are the response body.
    pub io_stream: i32,
}

/// An HTTP request, in texts of its own.
pub type HttpRequest = HttpRequestOf<String>;

/// An HTTP request as `http_next` gives it; `T` as in [`HttpHeadOf`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct HttpNextOf<T> {
    /// Method, URL, headers.
    pub head: HttpHeadOf<T>,
    /// Handle of the exchange: `http_respond` answers, reads give the request body.
    pub exchange: i32,
    /// Whether the request has a body, or may have one: else there is nothing to read.
    pub has_body: bool,
}

/// An HTTP request as `http_next` gives it, in texts of its own.
pub type HttpNext = HttpNextOf<String>;

/// What a guest has still to do about a request after `http_respond`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HttpRest {
    /// Nothing: the handle of the exchange is closed.
    Nothing = 0,
    /// To read the request's body, and to close the handle.
    Request = 1,
    /// To write more of the answer's body, too.
    Answer = 2,
}

impl HttpRest {
    /// What a number means, if it means anything.
    pub const fn from_i32(number: i32) -> Option<Self> {
        match number {
            0 => Some(Self::Nothing),
            1 => Some(Self::Request),
            2 => Some(Self::Answer),
            _ => None,
        }
    }
}

/// Head of the guest's answer to an HTTP request; `T` as in [`HttpHeadOf`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct HttpResponseHeadOf<T> {
    /// Status code.
    pub status: u16,
    /// Headers in order.
    pub headers: Vec<(T, T)>,
}

/// Head of an answer, in texts of its own.
pub type HttpResponseHead = HttpResponseHeadOf<String>;

/// Certificate and key of a TLS listener.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "in code that the codec derives"
)]
pub enum TlsServerConfig {
    /// PEM texts.
    #[codec(index = 0)]
    V0 {
        /// Certificate chain, leaf first.
        cert: String,
        /// Private key: PKCS#1, PKCS#8 or SEC1.
        key: String,
    },
}

impl core::fmt::Debug for TlsServerConfig {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self::V0 { cert, .. } = self;
        f.debug_struct("TlsServerConfig::V0")
            .field("cert_bytes", &cert.len())
            .field("key", &"(hidden)")
            .finish()
    }
}

/// How a name on the shared TLS port is served.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "in code that the codec derives"
)]
pub enum SniConfig {
    /// By the host or by the guest.
    #[codec(index = 0)]
    V0 {
        /// Certificate and key for the host; `None` when the guest speaks TLS.
        identity: Option<TlsServerConfig>,
        /// Protocols to choose from (ALPN), the preferred one first; none for no
        /// choice.
        protocols: Vec<Vec<u8>>,
    },
}

/// How to connect with TLS. Nothing can be chosen yet.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum TlsClientConfig {
    /// Trust roots and protocol versions of the host.
    #[codec(index = 0)]
    V0,
}

/// How to listen for TCP connections, besides the address.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "in code that the codec derives"
)]
pub enum ListenOptions {
    /// What there is to choose.
    #[codec(index = 0)]
    V0 {
        /// Connections that wait in the kernel to be accepted; `None` for as many as
        /// the host allows.
        backlog: Option<u32>,
        /// Whether small writes are sent at once.
        nodelay: bool,
        /// Seconds of silence after which the kernel asks a peer whether it is there.
        keepalive_secs: Option<u32>,
        /// Whether proxies that the operator trusts begin with a PROXY header, of
        /// which the peer is taken.
        proxy_header: bool,
    },
}

impl Default for ListenOptions {
    /// As without options.
    fn default() -> Self {
        Self::V0 {
            backlog: None,
            nodelay: true,
            keepalive_secs: None,
            proxy_header: false,
        }
    }
}

/// What a guest chooses for a TLS connection out.
#[derive(Clone, PartialEq, Eq, Default, Debug, Encode, Decode)]
pub struct TlsClientOptions {
    /// Protocols to offer (ALPN), the preferred one first; none for no choice.
    pub protocols: Vec<Vec<u8>>,
    /// Certificate and key to show to a server that asks for one.
    pub identity: Option<TlsServerConfig>,
    /// Certificates in PEM that are trusted in place of the worker's roots.
    pub roots: Option<String>,
}

/// Identifies one reading of the worker's usage counters.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct MetricsToken {
    /// Number of the reading in the session.
    pub sn: u64,
    /// Session of the worker.
    pub session: [u8; 32],
    /// Random bytes of this reading.
    pub nonce: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex"))
            .collect()
    }

    #[test]
    fn layouts_are_those_of_existing_guests() {
        let query = QueryRequest {
            origin: Some([5; 32]),
            path: "/a".into(),
            payload: vec![1],
            reply_tx: 3,
        };
        let mut expected = vec![1];
        expected.extend([5; 32]);
        expected.extend(hex("082f61040103000000"));
        assert_eq!(query.encode(), expected);

        let request = HttpRequest {
            head: HttpHead {
                method: "GET".into(),
                url: "http://h/p".into(),
                headers: vec![("k".into(), "v".into())],
            },
            response_tx: 1,
            io_stream: 2,
        };
        assert_eq!(
            request.encode(),
            hex("0c47455428687474703a2f2f682f7004046b04760100000002000000")
        );
        let borrowed = HttpHeadOf {
            method: "GET",
            url: "http://h/p",
            headers: vec![("k", "v")],
        };
        assert_eq!(borrowed.encode(), request.head.encode());

        let response = HttpResponseHead {
            status: 200,
            headers: vec![("k".into(), "v".into())],
        };
        assert_eq!(response.encode(), hex("c80004046b0476"));

        let tls = TlsServerConfig::V0 {
            cert: "C".into(),
            key: "K".into(),
        };
        assert_eq!(tls.encode(), hex("000443044b"));
        let sni = SniConfig::V0 {
            identity: Some(tls.clone()),
            protocols: alloc::vec![b"h2".to_vec()],
        };
        assert_eq!(sni.encode(), hex("0001000443044b04086832"));
        assert_eq!(TlsClientConfig::V0.encode(), [0]);
        assert_eq!(ListenOptions::default().encode(), hex("0000010000"));
        let listen = ListenOptions::V0 {
            backlog: Some(5),
            nodelay: false,
            keepalive_secs: Some(60),
            proxy_header: true,
        };
        assert_eq!(listen.encode(), hex("00010500000000013c00000001"));
        assert_eq!(
            ("0.0.0.0:80", None::<TlsServerConfig>).encode(),
            hex("28302e302e302e303a383000")
        );
    }

    #[test]
    fn a_key_never_shows_in_debug_output() {
        let tls = TlsServerConfig::V0 {
            cert: "C".into(),
            key: "SECRET".into(),
        };
        assert!(!alloc::format!("{tls:?}").contains("SECRET"));
    }
}
