//! Which addresses a guest may reach.
//!
//! A policy is asked twice: about the name as the guest wrote it, and about each
//! address right before it is dialled. The default ([`EgressRules`]) denies
//! everything that is not public unless a rule allows it, the addresses of this
//! machine included; the worker's own ports need a rule with that very port.
//! Called by the `net` calls and by `net::connect`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::net::machine::Machine;

/// Decides about outgoing connections of one app.
pub trait EgressPolicy: Send + Sync + 'static {
    /// Whether the guest may try to connect to this name or literal address.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the reason for the operator.
    fn check_name(&self, host: &str, port: u16) -> Result<(), Denied>;

    /// Whether an address that `host` resolved to may be dialled.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the reason for the operator.
    fn check_address(&self, host: &str, address: SocketAddr) -> Result<(), Denied>;
}

/// A connection that the policy refused, and why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "not allowed to connect to {target}: egress denied ({reason}); the rule {rule} allows it (wapo deploy --allow-egress {rule})"
)]
pub struct Denied {
    /// What the guest wanted to reach.
    pub target: String,
    /// Why it may not.
    pub reason: &'static str,
    /// The narrowest rule that would allow it.
    pub rule: String,
}

/// One entry of an allow list: who, and on which port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EgressRule {
    target: RuleTarget,
    port: Option<u16>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum RuleTarget {
    /// The name itself, or with `*.` every name below it.
    Name { name: String, below: bool },
    /// Every address in a network.
    Net(IpNet),
    /// Everything.
    Any,
}

/// Text that is no egress rule.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{text}` is not an egress rule: use a host name, `*.name`, an address, a network such as 10.0.0.0/8 or `*`, each with an optional `:port`"
)]
pub struct RuleError {
    text: String,
}

impl FromStr for EgressRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let error = || RuleError {
            text: text.to_owned(),
        };
        if let Some(target) = parse_net(text) {
            return Ok(Self { target, port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse::<u16>().map_err(|_| error())?)),
            None => (text, None),
        };
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let target = match parse_net(host) {
            Some(target) => target,
            None => parse_name(host).ok_or_else(error)?,
        };
        Ok(Self { target, port })
    }
}

fn parse_net(text: &str) -> Option<RuleTarget> {
    if text == "*" {
        return Some(RuleTarget::Any);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(RuleTarget::Net(IpNet::from(canonical(address))));
    }
    let net = text.parse::<IpNet>().ok()?;
    Some(RuleTarget::Net(canonical_net(net)))
}

/// The network that is really meant: IPv4 networks hide in IPv6 as addresses do,
/// and addresses are compared in their IPv4 form.
fn canonical_net(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else {
        return net;
    };
    let hidden_bits = match v6.addr().segments() {
        [0x2002, ..] => 16..=48,
        _ => 96..=128,
    };
    match canonical(v6.addr().into()) {
        IpAddr::V4(v4) if hidden_bits.contains(&v6.prefix_len()) => {
            let prefix_len = v6.prefix_len() - hidden_bits.start();
            Ipv4Net::new(v4, prefix_len.min(32)).map_or(net, IpNet::V4)
        }
        _ => net,
    }
}

fn parse_name(text: &str) -> Option<RuleTarget> {
    let (name, below) = match text.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (text, false),
    };
    let name = normal_name(name);
    let valid = !name.is_empty()
        && name.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        });
    valid.then_some(RuleTarget::Name { name, below })
}

/// Lower case, without the root's dot.
fn normal_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl EgressRule {
    fn allows_port(&self, port: u16) -> bool {
        self.port.is_none_or(|allowed| allowed == port)
    }

    fn allows_name(&self, host: &str) -> bool {
        match &self.target {
            RuleTarget::Any => true,
            RuleTarget::Net(_) => false,
            RuleTarget::Name { name, below: false } => *name == normal_name(host),
            RuleTarget::Name { name, below: true } => normal_name(host)
                .strip_suffix(name.as_str())
                .is_some_and(|front| front.ends_with('.')),
        }
    }

    fn allows_address(&self, address: IpAddr) -> bool {
        match &self.target {
            RuleTarget::Any => true,
            RuleTarget::Net(net) => net.contains(&canonical(address)),
            RuleTarget::Name { .. } => false,
        }
    }
}

/// Public addresses are allowed, everything else needs a rule.
#[derive(Clone, Debug, Default)]
pub struct EgressRules {
    allow: Vec<EgressRule>,
    machine: Arc<Machine>,
}

impl EgressRules {
    /// Allows public addresses and what one of the rules names.
    pub fn new(allow: Vec<EgressRule>) -> Self {
        Self::on(Arc::default(), allow)
    }

    /// The same for a worker on this machine.
    pub fn on(machine: Arc<Machine>, allow: Vec<EgressRule>) -> Self {
        Self { allow, machine }
    }

    /// Why an address needs a rule, and whether the rule has to name the port.
    fn special(&self, address: SocketAddr) -> Option<(&'static str, NeedsPort)> {
        if self.machine.owns_port(address.port()) && self.machine.has(address.ip()) {
            return Some(("the worker's own port", NeedsPort::Yes));
        }
        if let Some(reason) = special_range(address.ip()) {
            return Some((reason, NeedsPort::No));
        }
        let is_here = self.machine.has_interface(address.ip());
        is_here.then_some(("address of this machine", NeedsPort::No))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NeedsPort {
    Yes,
    No,
}

impl EgressPolicy for EgressRules {
    fn check_name(&self, host: &str, port: u16) -> Result<(), Denied> {
        match host.parse::<IpAddr>() {
            Ok(address) => self.check_address(host, SocketAddr::new(address, port)),
            // Names are judged by what they resolve to.
            Err(_) => Ok(()),
        }
    }

    fn check_address(&self, host: &str, address: SocketAddr) -> Result<(), Denied> {
        let Some((reason, needs_port)) = self.special(address) else {
            return Ok(());
        };
        let is_allowed = self.allow.iter().any(|rule| {
            rule.allows_port(address.port())
                && (needs_port == NeedsPort::No || rule.port.is_some())
                && (rule.allows_name(host) || rule.allows_address(address.ip()))
        });
        if is_allowed {
            return Ok(());
        }
        let (target, rule) = match host.parse::<IpAddr>() {
            Ok(_) => (address.to_string(), address.to_string()),
            Err(_) => (
                format!("{host} ({address})"),
                format!("{host}:{}", address.port()),
            ),
        };
        Err(Denied {
            target,
            reason,
            rule,
        })
    }
}

/// The address that is really meant, whatever way it was written.
///
/// IPv4 hides in several IPv6 forms; a packet sent to one of them ends at the
/// IPv4 host, so the IPv4 address is what has to be judged.
pub fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let s = v6.segments();
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        // Mapped ::ffff:a.b.c.d, translated ::ffff:0:a.b.c.d.
        [0, 0, 0, 0, 0, 0xffff, h, l] | [0, 0, 0, 0, 0xffff, 0, h, l] => v4(h, l),
        // Compatible ::a.b.c.d, but not :: and ::1.
        [0, 0, 0, 0, 0, 0, h, l] if h != 0 || l > 1 => v4(h, l),
        // NAT64 64:ff9b::/96.
        [0x64, 0xff9b, 0, 0, 0, 0, h, l] => v4(h, l),
        // 6to4 2002:a.b.c.d::/48.
        [0x2002, h, l, ..] => v4(h, l),
        _ => address,
    }
}

/// Why an address is not public, or `None` when it is.
///
/// Sources: the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890 and
/// its updates).
pub fn special_range(address: IpAddr) -> Option<&'static str> {
    match canonical(address) {
        IpAddr::V4(v4) => SPECIAL_V4
            .iter()
            .find(|(net, _)| net.contains(&v4))
            .map(|(_, reason)| *reason),
        IpAddr::V6(v6) => SPECIAL_V6
            .iter()
            .find(|(net, _)| net.contains(&v6))
            .map(|(_, reason)| *reason),
    }
}

const fn v4(octets: [u8; 4], len: u8, reason: &'static str) -> (Ipv4Net, &'static str) {
    let [a, b, c, d] = octets;
    (Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len), reason)
}

const fn v6(segments: [u16; 8], len: u8, reason: &'static str) -> (Ipv6Net, &'static str) {
    let [a, b, c, d, e, f, g, h] = segments;
    (
        Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), len),
        reason,
    )
}

const SPECIAL_V4: &[(Ipv4Net, &str)] = &[
    v4([0, 0, 0, 0], 8, "unspecified address"),
    v4([10, 0, 0, 0], 8, "private address"),
    v4([100, 64, 0, 0], 10, "shared (carrier) address"),
    v4([127, 0, 0, 0], 8, "loopback address"),
    v4([169, 254, 0, 0], 16, "link-local address"),
    v4([172, 16, 0, 0], 12, "private address"),
    v4([192, 0, 0, 0], 24, "reserved address"),
    v4([192, 0, 2, 0], 24, "documentation address"),
    v4([192, 88, 99, 0], 24, "reserved address"),
    v4([192, 168, 0, 0], 16, "private address"),
    v4([198, 18, 0, 0], 15, "benchmarking address"),
    v4([198, 51, 100, 0], 24, "documentation address"),
    v4([203, 0, 113, 0], 24, "documentation address"),
    v4([224, 0, 0, 0], 4, "multicast address"),
    v4([240, 0, 0, 0], 4, "reserved address"),
];

const SPECIAL_V6: &[(Ipv6Net, &str)] = &[
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified address"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback address"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "local NAT64 address"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard address"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "protocol address"),
    v6(
        [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0],
        32,
        "documentation address",
    ),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation address"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing address"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "private address"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local address"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local address"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast address"),
];

impl fmt::Display for EgressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            RuleTarget::Any => write!(f, "*")?,
            RuleTarget::Net(net) => write!(f, "{net}")?,
            RuleTarget::Name { name, below: false } => write!(f, "{name}")?,
            RuleTarget::Name { name, below: true } => write!(f, "*.{name}")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> EgressRules {
        EgressRules::new(
            texts
                .iter()
                .map(|text| text.parse().expect("rule"))
                .collect(),
        )
    }

    fn address(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().expect("address"), 80)
    }

    #[test]
    fn private_addresses_are_denied_in_every_spelling() {
        for text in [
            "127.0.0.1",
            "127.0.0.2",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "fec0::1",
        ] {
            let denied = rules(&[]).check_address("name.example", address(text));
            assert!(denied.is_err(), "{text} was allowed");
            assert!(rules(&[]).check_name(text, 80).is_err(), "{text} as a name");
        }
    }

    #[test]
    fn public_addresses_are_allowed() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "2606:4700::1111",
            "64:ff9b::808:808",
        ] {
            let rules = rules(&[]);
            assert_eq!(rules.check_address("name", address(text)), Ok(()), "{text}");
        }
    }

    #[test]
    fn rules_open_what_they_name_and_nothing_else() {
        let by_net = rules(&["127.0.0.1:80", "10.0.0.0/8"]);
        assert!(by_net.check_name("127.0.0.1", 80).is_ok());
        assert!(by_net.check_name("127.0.0.1", 81).is_err());
        assert!(by_net.check_name("127.0.0.2", 80).is_err());
        assert!(by_net.check_name("10.9.9.9", 1).is_ok());
        assert!(by_net.check_name("::ffff:127.0.0.1", 80).is_ok());

        let by_name = rules(&["*.internal.example", "LocalHost.:80"]);
        let loopback = address("127.0.0.1");
        assert!(by_name.check_address("localhost", loopback).is_ok());
        assert!(
            by_name
                .check_address("a.internal.example", loopback)
                .is_ok()
        );
        assert!(by_name.check_address("internal.example", loopback).is_err());
        assert!(
            by_name
                .check_address("evilinternal.example", loopback)
                .is_err()
        );
    }

    fn allows(rules: &EgressRules, target: &str) -> bool {
        let target: SocketAddr = target.parse().expect("an address and a port");
        rules
            .check_address(&target.ip().to_string(), target)
            .is_ok()
    }

    #[test]
    fn the_workers_own_ports_need_a_rule_with_the_port() {
        let public: IpAddr = "1.2.3.4".parse().expect("an address");
        let machine = Arc::new(Machine::with_addresses(vec![8001, 8002], vec![public]));
        let rules = |texts: &[&str]| {
            let rules = texts.iter().map(|text| text.parse().expect("rule"));
            EgressRules::on(Arc::clone(&machine), rules.collect())
        };
        for broad in [
            "*",
            "127.0.0.1",
            "127.0.0.0/8",
            "::/0",
            "0.0.0.0/0",
            "1.2.3.4",
        ] {
            let broad = rules(&[broad]);
            for target in [
                "127.0.0.1:8001",
                "[::1]:8001",
                "0.0.0.0:8002",
                "1.2.3.4:8001",
            ] {
                assert!(!allows(&broad, target), "{broad:?} {target}");
            }
        }
        assert!(allows(&rules(&["*"]), "127.0.0.1:5432"), "other ports");
        assert!(allows(&rules(&[]), "9.9.9.9:8001"), "other machines");
        let named = rules(&["127.0.0.1:8001"]);
        assert!(allows(&named, "127.0.0.1:8001"));
        assert!(!allows(&named, "127.0.0.1:8002"));
        let denied = rules(&["*"]).check_name("127.0.0.1", 8001);
        let text = denied.expect_err("no port").to_string();
        assert!(text.contains("--allow-egress 127.0.0.1:8001"), "{text}");
    }

    #[test]
    fn addresses_of_this_machine_are_not_public() {
        let public: IpAddr = "1.2.3.4".parse().expect("an address");
        let machine = Arc::new(Machine::with_addresses(Vec::new(), vec![public]));
        let without = EgressRules::on(Arc::clone(&machine), Vec::new());
        assert!(!allows(&without, "1.2.3.4:80"));
        assert!(!allows(&without, "[::ffff:1.2.3.4]:80"));
        assert!(allows(&without, "1.2.3.5:80"));
        let rule = "1.2.3.4".parse().expect("rule");
        assert!(allows(&EgressRules::on(machine, vec![rule]), "1.2.3.4:80"));
    }

    #[test]
    fn networks_that_hide_in_others_are_the_networks_they_mean() {
        for (text, shown, inside, outside) in [
            (
                "::ffff:127.0.0.0/104",
                "127.0.0.0/8",
                "127.3.2.1:80",
                "10.0.0.1:80",
            ),
            (
                "::ffff:10.0.0.0/104",
                "10.0.0.0/8",
                "10.9.9.9:80",
                "127.0.0.1:80",
            ),
            (
                "64:ff9b::10.0.0.0/120",
                "10.0.0.0/24",
                "10.0.0.9:80",
                "10.0.1.1:80",
            ),
            ("2002:a00::/24", "10.0.0.0/8", "10.9.9.9:80", "127.0.0.1:80"),
            ("fc00::/7", "fc00::/7", "[fd00::1]:80", "[fe80::1]:80"),
        ] {
            let rule: EgressRule = text.parse().expect(text);
            assert_eq!(rule.to_string(), shown);
            assert!(allows(&rules(&[text]), inside), "{text} {inside}");
            assert!(!allows(&rules(&[text]), outside), "{text} {outside}");
        }
    }

    #[test]
    fn rules_parse_or_say_what_is_wrong() {
        for (text, shown) in [
            ("*", "*"),
            ("*:443", "*:443"),
            ("[::1]:80", "::1/128:80"),
            ("::1", "::1/128"),
            ("Example.COM.:1", "example.com:1"),
            ("10.0.0.0/8", "10.0.0.0/8"),
        ] {
            let rule: EgressRule = text.parse().expect(text);
            assert_eq!(rule.to_string(), shown);
        }
        for text in ["", "a b", "host:port", "10.0.0.0/99", "..", "host:99999"] {
            let error = text.parse::<EgressRule>().expect_err(text);
            assert!(error.to_string().contains("is not an egress rule"));
        }
    }
}
