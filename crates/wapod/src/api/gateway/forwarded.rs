//! What a guest learns about the client through `X-Forwarded-…`.
//!
//! No I/O. What a client says about itself counts only if it is a proxy that the
//! operator trusts; from anyone else it is dropped, and so are headers that say
//! the same in other words.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use hyper::header::{HeaderMap, HeaderName};
use hyper::http::uri::Authority;
use ipnet::IpNet;

use crate::api::client::Peer;

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";
const HOST: &str = "x-forwarded-host";

/// Where a request comes from, as far as it is known.
#[derive(PartialEq, Eq, Debug)]
pub(in crate::api) struct Origin<'a> {
    /// The client; port 0 if a proxy hides it.
    pub(in crate::api) client: SocketAddr,
    /// `http` or `https`, as the client speaks.
    pub(in crate::api) scheme: &'static str,
    /// Whether the word of the other end counts.
    pub(in crate::api) is_trusted: bool,
    pub(in crate::api) headers: [(&'static str, Cow<'a, str>); 3],
}

impl<'a> Origin<'a> {
    /// Reads what is known about a request of `peer` to `host`.
    pub(in crate::api) fn new(
        peer: impl Into<Peer>,
        trusted: &[IpNet],
        host: &'a Authority,
        headers: &'a HeaderMap,
    ) -> Self {
        let end: Peer = peer.into();
        let (peer, spoken) = (end.address, end.scheme());
        let ip = peer.ip().to_canonical();
        if !contains(trusted, ip) {
            return Self {
                client: SocketAddr::new(ip, peer.port()),
                scheme: spoken,
                is_trusted: false,
                headers: [
                    (FOR, text(ip).into()),
                    (PROTO, spoken.into()),
                    (HOST, host.as_str().into()),
                ],
            };
        }
        let mut chain = list(headers, FOR);
        let client = match client(&chain, trusted) {
            Some(ip) => SocketAddr::new(ip, 0),
            None => SocketAddr::new(ip, peer.port()),
        };
        let scheme = scheme(&chain, &list(headers, PROTO), trusted).unwrap_or(spoken);
        if !chain.is_empty() {
            chain += ", ";
        }
        chain += &text(ip);
        let asked = only(headers, HOST).filter(|text| is_host(text));
        Self {
            client,
            scheme,
            is_trusted: true,
            headers: [
                (FOR, chain.into()),
                (PROTO, scheme.into()),
                (HOST, asked.unwrap_or(host.as_str()).into()),
            ],
        }
    }
}

/// The text of an address. Each request has one, and the formatting of the standard library
/// takes longer for the common kind.
fn text(ip: IpAddr) -> String {
    let IpAddr::V4(ip) = ip else {
        return ip.to_string();
    };
    let mut text = String::with_capacity("255.255.255.255".len());
    for (place, byte) in ip.octets().into_iter().enumerate() {
        if place > 0 {
            text.push('.');
        }
        for (unit, is_shown) in [(100, byte >= 100), (10, byte >= 10), (1, true)] {
            if is_shown {
                text.push(char::from(b'0' + byte / unit % 10));
            }
        }
    }
    text
}

/// Whether a header is one that says where a request comes from. The three that
/// are set anew count always, others unless the other end is trusted.
pub(in crate::api) fn is_replaced(name: &HeaderName, is_trusted: bool) -> bool {
    let name = name.as_str();
    match name {
        FOR | PROTO | HOST => true,
        "forwarded" | "x-real-ip" => !is_trusted,
        _ => !is_trusted && name.starts_with("x-forwarded-"),
    }
}

/// The last address of the chain that is not one of our proxies: what stands
/// before it may be invented.
fn client(chain: &str, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut client = None;
    for entry in entries(chain).rev() {
        let Some(ip) = address(entry) else {
            break;
        };
        client = Some(ip);
        if !contains(trusted, ip) {
            break;
        }
    }
    client
}

/// How the client speaks. Proxies that add to both lists say it beside the
/// client's address; from others the first word is the client's. `None` where no proxy
/// says a word that is known.
fn scheme(chain: &str, protocols: &str, trusted: &[IpNet]) -> Option<&'static str> {
    let behind = entries(chain)
        .rev()
        .take_while(|entry| address(entry).is_some_and(|ip| contains(trusted, ip)))
        .count();
    let hops = entries(chain).count();
    let protocol = match entries(protocols).count() == hops {
        true => entries(protocols)
            .rev()
            .nth(behind.min(hops.saturating_sub(1))),
        false => entries(protocols).next(),
    };
    let protocol = protocol?;
    let known = ["https", "http"];
    known
        .into_iter()
        .find(|known| protocol.eq_ignore_ascii_case(known))
}

/// Elements of a list; empty ones are none (RFC 9110, section 5.6.1).
fn entries(list: &str) -> impl DoubleEndedIterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
}

/// An entry of the chain: an address, with a port or without.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(entry);
    let ip = bare.parse::<IpAddr>().ok();
    let ip = ip.or_else(|| entry.parse::<SocketAddr>().ok().map(|both| both.ip()));
    ip.map(|ip| ip.to_canonical())
}

fn contains(nets: &[IpNet], ip: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&ip))
}

/// All values of a header that are text, as one list.
fn list(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(name).iter();
    let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
    values.join(", ")
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?.trim();
    values.next().is_none().then_some(first)
}

fn is_host(text: &str) -> bool {
    text.parse::<Authority>().is_ok() && !text.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_standard_library_does() {
        for byte in 0..=255 {
            for ip in [[byte, 0, 9, 255], [10, byte, byte, 100]] {
                assert_eq!(text(ip.into()), std::net::Ipv4Addr::from(ip).to_string());
            }
        }
        assert_eq!(text(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])), "::1");
    }

    /// As a header of its own and what it says.
    type Claim = (&'static str, &'static str);

    fn origin(peer: &str, trusted: &str, headers: &[Claim]) -> Origin<'static> {
        let trusted: Vec<IpNet> = trusted
            .split_whitespace()
            .map(|net| net.parse().expect("net"))
            .collect();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("value"));
        }
        let host = Authority::from_static("h:1");
        let peer: SocketAddr = peer.parse().expect("peer");
        let origin = Origin::new(peer, &trusted, &host, &map);
        let headers = origin.headers;
        Origin {
            headers: headers.map(|(name, value)| (name, Cow::Owned(value.into_owned()))),
            ..origin
        }
    }

    fn values<'a>(origin: &'a Origin<'_>) -> [&'a str; 3] {
        [0, 1, 2].map(|index| &*origin.headers[index].1)
    }

    const CLAIMS: &[(&str, &str)] = &[
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "bank.example"),
    ];

    #[test]
    fn strangers_are_not_believed() {
        let origin = origin("192.0.2.1:5", "10.0.0.0/8", CLAIMS);
        assert_eq!(values(&origin), ["192.0.2.1", "http", "h:1"]);
        assert_eq!(origin.client.to_string(), "192.0.2.1:5");
        assert_eq!(origin.scheme, "http");
        for name in ["forwarded", "x-forwarded-port", "x-real-ip", FOR] {
            let name = HeaderName::from_static(name);
            assert!(is_replaced(&name, false), "{name}");
        }
    }

    #[test]
    fn the_scheme_is_that_of_the_connection_unless_a_proxy_says_otherwise() {
        let trusted = ["10.0.0.0/8".parse().expect("net")];
        let host = Authority::from_static("h:1");
        for (peer, claim, expected) in [
            ("192.0.2.1:5", "http", "https"),
            ("10.0.0.9:5", "", "https"),
            ("10.0.0.9:5", "gopher", "https"),
            ("10.0.0.9:5", "http", "http"),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(PROTO, claim.parse().expect("value"));
            let peer = Peer {
                address: peer.parse().expect("peer"),
                is_https: true,
            };
            let origin = Origin::new(peer, &trusted, &host, &headers);
            assert_eq!(origin.scheme, expected, "{claim}");
            assert_eq!(origin.headers[1].1, expected, "{claim}");
        }
    }

    #[test]
    fn proxies_are_believed() {
        let origin = origin("[::ffff:10.0.0.9]:5", "10.0.0.0/8", CLAIMS);
        let expected = ["1.2.3.4, 10.0.0.9", "https", "bank.example"];
        assert_eq!(values(&origin), expected);
        assert_eq!(origin.client.to_string(), "1.2.3.4:0");
        assert_eq!(origin.scheme, "https");
        let name = HeaderName::from_static("forwarded");
        assert!(!is_replaced(&name, true));
        assert!(is_replaced(&HeaderName::from_static(PROTO), true));
    }

    #[test]
    fn the_client_is_the_last_one_that_is_no_proxy() {
        for (chain, expected) in [
            ("6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4:0"),
            ("1.2.3.4:77, 10.0.0.2", "1.2.3.4:0"),
            ("[2001:db8::1]", "[2001:db8::1]:0"),
            ("10.0.0.3, 10.0.0.2", "10.0.0.3:0"),
            ("1.2.3.4, unknown", "10.0.0.1:5"),
            ("1.2.3.4, unknown, 10.0.0.2", "10.0.0.2:0"),
            ("1.2.3.4, , 10.0.0.2", "1.2.3.4:0"),
            ("1.2.3.4,", "1.2.3.4:0"),
            (",, ,", "10.0.0.1:5"),
            ("", "10.0.0.1:5"),
        ] {
            let headers = [("x-forwarded-for", chain)];
            let origin = origin("10.0.0.1:5", "10.0.0.0/8", &headers);
            assert_eq!(origin.client.to_string(), expected, "{chain}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_replaced() {
        let claims = [("x-forwarded-proto", "gopher"), ("x-forwarded-host", "a/b")];
        let one = origin("10.0.0.1:5", "10.0.0.1/32", &claims);
        assert_eq!(values(&one), ["10.0.0.1", "http", "h:1"]);
    }

    #[test]
    fn the_scheme_is_the_clients_and_not_that_of_a_proxy_in_between() {
        for (chain, protocols, expected) in [
            ("", "https", "https"),
            ("", "https, http", "https"),
            ("1.2.3.4", "HTTPS, http", "https"),
            ("1.2.3.4, 10.0.0.2", "https", "https"),
            ("1.2.3.4, 10.0.0.2", "https, http", "https"),
            ("10.0.0.3, 10.0.0.2", "https, http", "https"),
            // The first word is what a client said about itself.
            ("6.6.6.6, 1.2.3.4", "https, http", "http"),
            ("1.2.3.4", "http, https", "http"),
            ("1.2.3.4", ", https", "https"),
            ("1.2.3.4", "", "http"),
        ] {
            let headers = [("x-forwarded-for", chain), ("x-forwarded-proto", protocols)];
            let origin = origin("10.0.0.1:5", "10.0.0.0/8", &headers);
            assert_eq!(origin.scheme, expected, "{chain} / {protocols}");
        }
    }
}
