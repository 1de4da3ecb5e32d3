//! Giving a UDP socket its peer: a name or an address, to an address that the
//! policy allows.
//!
//! Nothing is sent: the name is resolved, each address is put to the policy, and the
//! first one that it allows becomes the peer. Asked by `udp_connect` of the calls
//! until it is done; a lookup is a task of the host that ends with the socket.

use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout_at};
use wapo_abi::NetFailure;

use crate::descriptors::NoDescriptors;
use crate::limits::CONNECT_ADDRESSES_MAX;
use crate::net::dialer::Dialer;
use crate::net::dns_sockets::Asker;
use crate::net::failure::Failure;
use crate::net::names::AddressFamily;
use crate::net::policy::{Denied, Host, NoHost};
use crate::net::task::OwnedTask;
use crate::net::udp::{Attempt, Udp};

/// Why a socket has not got its peer.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The text is no `host:port`.
    BadTarget,
    /// The policy forbids the name, or a proxy stands in between.
    DeniedName(Denied),
    /// The instance may not look up anything more at the moment.
    Lack(NoDescriptors),
    /// Anything else, a denied address among it.
    Failed(Failure),
}

impl Udp {
    /// Goes on to give the socket this peer.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; the socket has the peer that it had before.
    pub(crate) fn poll_connect(
        &mut self,
        cx: &mut Context<'_>,
        target: &str,
        dialer: &Dialer,
    ) -> Poll<Result<(), ConnectError>> {
        let (host, port) = parse_target(target).ok_or(ConnectError::BadTarget)?;
        if self.attempt.as_ref().is_none_or(|one| one.target != target) {
            self.attempt = None;
            let check = dialer.check_name(host, port);
            check.map_err(ConnectError::DeniedName)?;
            let parsed = Host::parse(host);
            match &parsed {
                Ok(Host::Address(ip)) => {
                    return Poll::Ready(self.choose(host, port, vec![*ip], dialer));
                }
                // The resolver would learn which host is to be reached by a proxy.
                Ok(name) if dialer.proxies.of(name).is_some() => {
                    let denied = dialer.deny_datagrams(target);
                    return Poll::Ready(Err(ConnectError::DeniedName(denied)));
                }
                Ok(Host::Name(name)) => self.attempt = Some(self.look_up(target, name, dialer)?),
                Err(NoHost) => {
                    let failure = Failure::of(NetFailure::NO_SUCH_NAME);
                    return Poll::Ready(Err(failed(failure, target)));
                }
            }
        }
        let Some(attempt) = &mut self.attempt else {
            return Poll::Pending;
        };
        let found = ready!(attempt.lookup.poll_outcome(cx));
        self.attempt = None;
        let addresses = found.map_err(Failure::from).flatten();
        Poll::Ready(match addresses {
            Ok(addresses) => self.choose(host, port, addresses, dialer),
            Err(failure) => Err(failed(failure, target)),
        })
    }

    fn look_up(&self, target: &str, host: &str, dialer: &Dialer) -> Result<Attempt, ConnectError> {
        let is_v6 = self.local_address().is_some_and(|own| own.is_ipv6());
        let questions = if is_v6 { 2 } else { 1 };
        let permit = dialer.descriptors.attempt(questions);
        let mut permit = permit.map_err(ConnectError::Lack)?;
        let (dialer, runtime) = (dialer.clone(), dialer.runtime.clone());
        let deadline = Instant::now() + dialer.deadlines.connect;
        let host = host.to_owned();
        let looking = async move {
            let (dns, names) = (&dialer.dns, &dialer.names);
            if timeout_at(deadline, dialer.wait_for_rates()).await.is_err() {
                return Err(dialer.too_late());
            }
            let mut ask = |family| {
                let asker = Asker::new(&dialer.descriptors, permit.take());
                let host = host.as_str();
                let looking = async move { dns.lookup_for(names, &asker, host, family).await };
                let too_late = |_| Err(Failure::of(NetFailure::TIMED_OUT));
                timeout_at(deadline, looking).map(move |answer| answer.unwrap_or_else(too_late))
            };
            if !is_v6 {
                return ask(AddressFamily::V4).await;
            }
            // The policy may forbid all of one family, so that both have to be there.
            match tokio::join!(ask(AddressFamily::V6), ask(AddressFamily::V4)) {
                (Ok(v6), Ok(v4)) => Ok([v6, v4].concat()),
                (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
                (Err(_), Err(failure)) => Err(failure),
            }
        };
        Ok(Attempt {
            target: target.to_owned(),
            lookup: OwnedTask::spawn(&runtime, looking),
        })
    }

    /// Takes the first address that the policy allows.
    fn choose(
        &mut self,
        host: &str,
        port: u16,
        addresses: Vec<IpAddr>,
        dialer: &Dialer,
    ) -> Result<(), ConnectError> {
        let mut last = Failure::of(NetFailure::NO_SUCH_NAME);
        let mut tried = 0;
        for ip in addresses {
            if tried == CONNECT_ADDRESSES_MAX {
                break;
            }
            let address = SocketAddr::new(ip, port);
            if let Err(denied) = dialer.check_address(host, address) {
                dialer.notices.warn(&denied.to_string());
                last = Failure::from(&denied);
                continue;
            }
            tried += 1;
            match self.set_peer(self.in_own_family(address)) {
                Ok(()) => return Ok(()),
                Err(error) => last = Failure::from(&error),
            }
        }
        Err(failed(last, &format!("{host}:{port}")))
    }
}

fn failed(failure: Failure, target: &str) -> ConnectError {
    ConnectError::Failed(match failure.kind {
        // It names its target and what to do.
        NetFailure::DENIED => failure,
        _ => failure.while_doing(&format!("cannot connect to {target}")),
    })
}

/// A host and a port; an IPv6 address is in brackets.
fn parse_target(target: &str) -> Option<(&str, u16)> {
    let (host, port) = target.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let literal = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let is_right = match literal {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains(':'),
    };
    is_right.then_some((literal.unwrap_or(host), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_host_and_a_port() {
        for (text, parsed) in [
            ("a.test:53", Some(("a.test", 53))),
            ("192.0.2.1:65535", Some(("192.0.2.1", 65_535))),
            ("[2001:db8::1]:1", Some(("2001:db8::1", 1))),
            ("", None),
            ("a.test", None),
            (":53", None),
            ("a.test:", None),
            ("a.test:0", None),
            ("a.test:65536", None),
            ("2001:db8::1:53", None),
            ("[a.test]:53", None),
            ("[]:53", None),
        ] {
            assert_eq!(parse_target(text), parsed, "{text}");
        }
    }
}
