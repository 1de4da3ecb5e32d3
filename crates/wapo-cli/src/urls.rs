//! Where a running app can be reached, as something to click on or to paste.
//!
//! No I/O: from the state of an instance to lines of text.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wapod::Status;

/// The URLs of an app that have been shown.
#[derive(Default)]
pub(crate) struct Urls {
    shown: Vec<String>,
}

impl Urls {
    /// Whether none was ever shown.
    pub(crate) fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// The URLs that answer now and have not been shown yet.
    pub(crate) fn new_ones(
        &mut self,
        status: &Status,
        gateway: SocketAddr,
        tls: Option<SocketAddr>,
    ) -> Vec<String> {
        let mut new = of(status, gateway, tls);
        new.retain(|url| !self.shown.contains(url));
        self.shown.extend(new.iter().cloned());
        new
    }
}

/// All URLs that answer in this state; `tls` is the port of server names.
fn of(status: &Status, gateway: SocketAddr, tls: Option<SocketAddr>) -> Vec<String> {
    let gateway = reachable(gateway);
    let mut urls = Vec::new();
    if status.takes_http {
        urls.push(format!("http://{gateway}/"));
    }
    if status.takes_queries {
        urls.push(format!("http://{gateway}/prpc/User.Query?json"));
    }
    let listening = status.listening.iter();
    urls.extend(listening.map(|one| listener(reachable(one.address), one.tls)));
    let datagrams = status.listening_udp.iter();
    urls.extend(datagrams.map(|one| udp(reachable(*one))));
    if let Some(tls) = tls {
        let port = tls.port();
        let names = status.names.iter();
        urls.extend(names.map(|name| format!("https://{name}:{port}/")));
    }
    urls
}

/// A port of an app's own for datagrams, at an address that can be reached.
pub(crate) fn udp(address: impl Display) -> String {
    format!("udp://{address}")
}

/// A port of an app's own, at an address that can be connected to.
pub(crate) fn listener(address: impl Display, has_tls: bool) -> String {
    match has_tls {
        true => format!("https://{address}/"),
        false => format!("tcp://{address}"),
    }
}

/// An address to connect to, for one that a socket is bound to.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, bound.port())
}

#[cfg(test)]
mod tests {
    use wapod::{ListenAddress, Phase};

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    #[test]
    fn urls_are_shown_once_and_can_be_used() {
        let mut status = Status {
            phase: Phase::Running,
            has_run: true,
            ..Status::starting()
        };
        let gateway = address("127.0.0.1:8100");
        let mut urls = Urls::default();
        let tls = Some(address("127.0.0.1:8443"));
        assert!(urls.new_ones(&status, gateway, tls).is_empty());

        status.takes_http = true;
        status.listening = [("0.0.0.0:3000", false), ("[::]:3001", true)]
            .map(|(text, tls)| ListenAddress {
                address: address(text),
                tls,
            })
            .into();
        status.listening_udp = vec![address("0.0.0.0:5353")];
        assert_eq!(
            urls.new_ones(&status, gateway, tls),
            [
                "http://127.0.0.1:8100/",
                "tcp://127.0.0.1:3000",
                "https://[::1]:3001/",
                "udp://127.0.0.1:5353"
            ]
        );
        status.takes_queries = true;
        status.names = vec!["shop.example".into()];
        assert_eq!(
            urls.new_ones(&status, gateway, tls),
            [
                "http://127.0.0.1:8100/prpc/User.Query?json",
                "https://shop.example:8443/"
            ]
        );
        assert!(urls.new_ones(&status, gateway, tls).is_empty());
    }
}
