//! One egress rule: a destination, and optionally a port.
//!
//! Whether it allows or denies depends on its list. Written by operators in the
//! options, the configuration file and the settings of apps; read once, and put into
//! an index (`rule_set`) for use.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

use super::host::Host;
use crate::net::address::{canonical, canonical_net};

/// One entry of a list of rules.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct EgressRule {
    pub(super) target: RuleTarget,
    pub(super) port: Option<u16>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum RuleTarget {
    /// The name itself.
    Name(String),
    /// Every name below this one.
    Below(String),
    /// Every address in a network.
    Net(IpNet),
    /// Everything.
    Any,
}

impl EgressRule {
    /// The rule `*`.
    pub const EVERYTHING: Self = Self {
        target: RuleTarget::Any,
        port: None,
    };
}

/// Text that is no rule.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{text}` is not an egress rule: use a host name, `*.name`, an address, a network such as 10.0.0.0/8 or `*`, each with an optional `:port`; an IPv6 address that ends like a port is in brackets (`[2001:db8::5]:443`, `[2001:db8::5:443]`)"
)]
pub struct RuleError {
    text: String,
}

/// Bytes of a rule that an error repeats.
const SHOWN_BYTES_MAX: usize = 100;

impl FromStr for EgressRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let error = || RuleError {
            text: text[..text.floor_char_boundary(SHOWN_BYTES_MAX)].to_owned(),
        };
        if ends_like_a_port(text) {
            return Err(error());
        }
        if let Some(target) = parse_net(text) {
            return Ok(Self { target, port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            // An IPv6 address in brackets, without a port.
            _ if text.ends_with(']') => (text, None),
            // The standard library would take a sign.
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
                (host, Some(port.parse::<u16>().map_err(|_| error())?))
            }
            Some(_) => return Err(error()),
            None => (text, None),
        };
        let target = parse_net(host).or_else(|| parse_host(host));
        let target = target.ok_or_else(error)?;
        Ok(Self { target, port })
    }
}

/// Whether a text without brackets is an IPv6 address, and another one with a port
/// behind it: `2001:db8::5:443`. As the address it would be about all ports.
fn ends_like_a_port(text: &str) -> bool {
    let is_v6 = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        is_port && is_v6(host) && is_v6(text)
    })
}

fn parse_net(text: &str) -> Option<RuleTarget> {
    if text == "*" {
        return Some(RuleTarget::Any);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(RuleTarget::Net(IpNet::from(canonical(address))));
    }
    let net = text.parse::<IpNet>().ok()?;
    Some(RuleTarget::Net(canonical_net(net.trunc())))
}

fn parse_host(text: &str) -> Option<RuleTarget> {
    // An address of one interface only is none that a rule could keep to.
    if text.contains('%') {
        return None;
    }
    if let Some(name) = text.strip_prefix("*.") {
        return match Host::parse(name).ok()? {
            Host::Name(name) => Some(RuleTarget::Below(name)),
            Host::Address(_) => None,
        };
    }
    Some(match Host::parse(text).ok()? {
        Host::Name(name) => RuleTarget::Name(name),
        Host::Address(address) => RuleTarget::Net(IpNet::from(canonical(address))),
    })
}

impl fmt::Display for EgressRule {
    /// In the form that is read as the same rule.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            RuleTarget::Any => write!(f, "*")?,
            RuleTarget::Net(net) => write!(f, "{net}")?,
            RuleTarget::Name(name) => write!(f, "{name}")?,
            RuleTarget::Below(name) => write!(f, "*.{name}")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}
