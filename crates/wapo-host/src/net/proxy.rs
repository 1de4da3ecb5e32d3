//! Proxies that carry the guests' connections: SOCKS5 and HTTP CONNECT, as a client.
//!
//! While one is set, no connection bypasses it. The destination was checked before,
//! by `connect`; to which address the proxy resolves a name cannot be seen here. The
//! handshake has the deadline of the attempt, and each of its answers a bound. Knows
//! no policy.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wapo_abi::NetFailure;

use crate::limits::PROXY_HEAD_BYTES_MAX;
use crate::net::failure::Failure;
use crate::net::policy::Host;

/// The end of names that the proxy for I2P carries.
const I2P_END: &str = ".i2p";

/// The proxies of a worker.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Proxies {
    /// For all connections.
    pub all: Option<Arc<Proxy>>,
    /// For names that end with `.i2p`; the other one is not asked for these then.
    pub i2p: Option<Arc<Proxy>>,
}

impl Proxies {
    /// The proxy that has to carry connections to a host.
    pub fn of(&self, host: &Host) -> Option<&Arc<Proxy>> {
        let is_i2p = host.name().is_some_and(|name| name.ends_with(I2P_END));
        let first = self.i2p.as_ref().filter(|_| is_i2p);
        first.or(self.all.as_ref())
    }

    /// Whether datagrams are refused: no proxy carries them, and they would go around.
    pub fn forbid_datagrams(&self) -> bool {
        self.all.is_some()
    }
}

/// A proxy: how to speak to it, and where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proxy {
    scheme: Scheme,
    host: Host,
    port: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scheme {
    /// The worker resolves names.
    Socks5,
    /// The proxy does.
    Socks5h,
    /// The proxy does.
    Http,
}

/// A text that is no proxy. Does not repeat it: there may be a password in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProxyError {
    /// It has another form.
    #[error(
        "not a proxy: write socks5://HOST:PORT (the worker resolves names), socks5h://HOST:PORT or http://HOST:PORT (the proxy does)"
    )]
    Form,
    /// It has a user or a password.
    #[error("a proxy with a user or a password cannot be used: name one that asks for none")]
    Login,
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let (scheme, rest) = text.split_once("://").ok_or(ProxyError::Form)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "socks5" => Scheme::Socks5,
            "socks5h" => Scheme::Socks5h,
            "http" => Scheme::Http,
            _ => return Err(ProxyError::Form),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            return Err(ProxyError::Login);
        }
        let (host, port) = rest.rsplit_once(':').ok_or(ProxyError::Form)?;
        let port = port.parse().ok().filter(|port| *port != 0);
        Ok(Self {
            scheme,
            host: Host::parse(host).map_err(|_| ProxyError::Form)?,
            port: port.ok_or(ProxyError::Form)?,
        })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Socks5 => "socks5",
            Scheme::Socks5h => "socks5h",
            Scheme::Http => "http",
        };
        write!(f, "{scheme}://{}", Authority(&self.host, self.port))
    }
}

/// A host and a port as in a URL.
struct Authority<'a>(&'a Host, u16);

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Host::Address(address) => SocketAddr::new(*address, self.1).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.1),
        }
    }
}

impl Proxy {
    /// Whether the proxy resolves names.
    pub fn resolves(&self) -> bool {
        self.scheme != Scheme::Socks5
    }

    /// Where it is.
    pub(crate) fn place(&self) -> (&Host, u16) {
        (&self.host, self.port)
    }

    /// Asks for a connection to `host` over one to the proxy.
    ///
    /// # Errors
    ///
    /// What the proxy says. Nothing about where it is: guests see it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    pub(crate) async fn ask(
        &self,
        mut stream: TcpStream,
        host: &Host,
        port: u16,
    ) -> Result<TcpStream, Failure> {
        match self.scheme {
            Scheme::Socks5 | Scheme::Socks5h => socks5(&mut stream, host, port).await?,
            Scheme::Http => http_connect(&mut stream, host, port).await?,
        }
        Ok(stream)
    }
}

/// A failure that is the proxy's.
pub(crate) fn proxy_failed(kind: NetFailure, what: &str) -> Failure {
    Failure::new(kind, format!("the proxy of this worker {what}"))
}

/// What the proxy did instead of answering.
fn broken(error: std::io::Error) -> Failure {
    let kind = Failure::from(&error).kind;
    proxy_failed(kind, "closed the connection before it had answered")
}

fn no_socks() -> Failure {
    proxy_failed(NetFailure::OTHER, "does not speak SOCKS5 without a login")
}

/// The client's side of RFC 1928, without authentication.
async fn socks5(stream: &mut TcpStream, host: &Host, port: u16) -> Result<(), Failure> {
    const VERSION: u8 = 5;
    const NO_AUTHENTICATION: u8 = 0;
    stream
        .write_all(&[VERSION, 1, NO_AUTHENTICATION])
        .await
        .map_err(broken)?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).await.map_err(broken)?;
    if chosen != [VERSION, NO_AUTHENTICATION] {
        return Err(no_socks());
    }
    // Command CONNECT.
    let mut request = vec![VERSION, 1, 0];
    match host {
        Host::Address(IpAddr::V4(v4)) => {
            request.push(1);
            request.extend(v4.octets());
        }
        Host::Address(IpAddr::V6(v6)) => {
            request.push(4);
            request.extend(v6.octets());
        }
        Host::Name(name) => {
            let len = u8::try_from(name.len()).map_err(|_| Failure::of(NetFailure::OTHER))?;
            request.extend([3, len]);
            request.extend(name.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    stream.write_all(&request).await.map_err(broken)?;
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).await.map_err(broken)?;
    let [VERSION, code, _, kind] = reply else {
        return Err(no_socks());
    };
    if code != 0 {
        return Err(socks5_refusal(code));
    }
    // The address from which the proxy connects, which nobody needs.
    let rest = match kind {
        1 => 4,
        4 => 16,
        3 => usize::from(stream.read_u8().await.map_err(broken)?),
        _ => return Err(no_socks()),
    };
    let mut bound = vec![0; rest + 2];
    stream.read_exact(&mut bound).await.map_err(broken)?;
    Ok(())
}

/// RFC 1928, section 6.
fn socks5_refusal(code: u8) -> Failure {
    let (kind, what) = match code {
        2 => (NetFailure::REFUSED, "does not allow this connection"),
        3 => (NetFailure::NETWORK_UNREACHABLE, "cannot reach the network"),
        4 => (NetFailure::HOST_UNREACHABLE, "cannot reach the host"),
        5 => (NetFailure::REFUSED, "says that the connection was refused"),
        6 => (NetFailure::TIMED_OUT, "says that nobody answered"),
        _ => (NetFailure::OTHER, "could not connect"),
    };
    proxy_failed(kind, what)
}

/// The method CONNECT of RFC 9110, section 9.3.6, in HTTP/1.1.
async fn http_connect(stream: &mut TcpStream, host: &Host, port: u16) -> Result<(), Failure> {
    let to = Authority(host, port);
    let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut head = Vec::new();
    // One by one: what follows the head is the connection's. The bound is small.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= PROXY_HEAD_BYTES_MAX {
            return Err(proxy_failed(
                NetFailure::OTHER,
                "answered with too long a head",
            ));
        }
        head.push(stream.read_u8().await.map_err(broken)?);
    }
    let status = head
        .strip_prefix(b"HTTP/1.1 ")
        .or_else(|| head.strip_prefix(b"HTTP/1.0 "))
        .and_then(|rest| rest.get(..3))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse::<u16>().ok());
    match status {
        Some(200..=299) => Ok(()),
        Some(403 | 405) => Err(proxy_failed(
            NetFailure::REFUSED,
            "does not allow this connection",
        )),
        Some(407) => Err(proxy_failed(NetFailure::OTHER, "asks for a login")),
        Some(504) => Err(proxy_failed(
            NetFailure::TIMED_OUT,
            "says that nobody answered",
        )),
        Some(status) => {
            let what = format!("could not connect (status {status})");
            Err(proxy_failed(NetFailure::HOST_UNREACHABLE, &what))
        }
        None => Err(proxy_failed(NetFailure::OTHER, "does not speak HTTP")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_or_say_what_is_wrong_without_the_password() {
        for (text, resolves) in [
            ("socks5://127.0.0.1:9050", false),
            ("socks5h://proxy.example:1080/", true),
            ("SOCKS5H://[::1]:9050", true),
            ("http://127.0.0.1:3128", true),
        ] {
            let proxy: Proxy = text.parse().expect(text);
            assert_eq!(proxy.resolves(), resolves, "{text}");
            assert_eq!(proxy.to_string().parse(), Ok(proxy), "{text}");
        }
        for text in [
            "",
            "127.0.0.1:9050",
            "socks4://127.0.0.1:9050",
            "https://127.0.0.1:443",
            "socks5://127.0.0.1",
            "socks5://127.0.0.1:0",
            "socks5://a b:1",
            "socks5://127.0.0.1:9050/path",
        ] {
            assert_eq!(text.parse::<Proxy>(), Err(ProxyError::Form), "{text}");
        }
        let login = "socks5://user:secret@127.0.0.1:9050".parse::<Proxy>();
        assert_eq!(login, Err(ProxyError::Login));
    }

    #[test]
    fn names_of_i2p_have_a_proxy_of_their_own() {
        let proxy = |text: &str| Some(Arc::new(text.parse::<Proxy>().expect("a proxy")));
        let both = Proxies {
            all: proxy("socks5h://127.0.0.1:1"),
            i2p: proxy("socks5h://127.0.0.1:2"),
        };
        let of = |proxies: &Proxies, host: &str| {
            let host = Host::parse(host).expect("a host");
            proxies.of(&host).map(|proxy| proxy.port)
        };
        assert_eq!(of(&both, "site.i2p."), Some(2));
        assert_eq!(of(&both, "sitei2p"), Some(1));
        assert_eq!(of(&both, "1.1.1.1"), Some(1));
        let i2p = Proxies {
            all: None,
            ..both.clone()
        };
        assert_eq!(of(&i2p, "SITE.I2P"), Some(2));
        assert_eq!(of(&i2p, "example.com"), None);
        let all = Proxies { i2p: None, ..both };
        assert_eq!(of(&all, "site.i2p"), Some(1));
    }
}
