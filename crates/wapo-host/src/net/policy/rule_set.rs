//! Many rules, found quickly: names in hash maps, networks in tries.
//!
//! A connection is judged by up to four lists of a thousand rules each, so no list
//! is gone through. Which list wins is decided in `policy`.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use super::rule::{EgressRule, RuleTarget};

/// Rules of one list.
#[derive(Clone, Default)]
pub struct RuleSet {
    names: HashMap<String, Ports>,
    /// By the name above.
    below: HashMap<String, Ports>,
    /// Labels of the longest name in `below`: longer ends of a name need no look.
    below_labels_max: usize,
    v4: PrefixMap<Ipv4Net, Ports>,
    v6: PrefixMap<Ipv6Net, Ports>,
    any: Ports,
    len: usize,
}

/// The ports of one target.
#[derive(Clone, Default)]
struct Ports {
    all: bool,
    /// In order.
    some: Vec<u16>,
}

impl Ports {
    fn add(&mut self, port: Option<u16>) {
        match port {
            None => self.all = true,
            Some(port) => {
                if let Err(at) = self.some.binary_search(&port) {
                    self.some.insert(at, port);
                }
            }
        }
    }

    fn have(&self, port: u16) -> bool {
        self.all || self.name(port)
    }

    /// Whether the very port is named.
    fn name(&self, port: u16) -> bool {
        self.some.binary_search(&port).is_ok()
    }
}

impl FromIterator<EgressRule> for RuleSet {
    fn from_iter<T: IntoIterator<Item = EgressRule>>(rules: T) -> Self {
        let mut set = Self::default();
        for EgressRule { target, port } in rules {
            set.len += 1;
            let ports = match target {
                RuleTarget::Any => &mut set.any,
                RuleTarget::Name(name) => set.names.entry(name).or_default(),
                RuleTarget::Below(name) => {
                    let labels = name.split('.').count();
                    set.below_labels_max = set.below_labels_max.max(labels);
                    set.below.entry(name).or_default()
                }
                RuleTarget::Net(IpNet::V4(net)) => set.v4.entry(net).or_default(),
                RuleTarget::Net(IpNet::V6(net)) => set.v6.entry(net).or_default(),
            };
            ports.add(port);
        }
        set
    }
}

impl RuleSet {
    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a rule is about everything on this port.
    pub(super) fn has_any(&self, port: u16) -> bool {
        self.any.have(port)
    }

    /// Whether a rule is about this name. It has the form of [`super::Host::Name`].
    pub(super) fn has_name(&self, name: &str, port: u16) -> bool {
        let is_exact = self.names.get(name).is_some_and(|ports| ports.have(port));
        is_exact || self.has_below(name, port)
    }

    fn has_below(&self, name: &str, port: u16) -> bool {
        if self.below.is_empty() {
            return false;
        }
        let dots = name.rmatch_indices('.').take(self.below_labels_max);
        let mut ends = dots.map(|(at, _)| &name[at + 1..]);
        ends.any(|end| self.below.get(end).is_some_and(|ports| ports.have(port)))
    }

    /// Whether a rule is about a network that this address is in.
    pub(super) fn has_address(&self, address: IpAddr, port: u16) -> bool {
        match address {
            IpAddr::V4(v4) => {
                let net = Ipv4Net::from(v4);
                !self.v4.is_empty() && self.v4.cover_values(&net).any(|ports| ports.have(port))
            }
            IpAddr::V6(v6) => {
                let net = Ipv6Net::from(v6);
                !self.v6.is_empty() && self.v6.cover_values(&net).any(|ports| ports.have(port))
            }
        }
    }

    /// Whether a rule names exactly this name or address and this port.
    pub(super) fn names_exactly(
        &self,
        name: Option<&str>,
        address: Option<IpAddr>,
        port: u16,
    ) -> bool {
        let by_name = name.and_then(|name| self.names.get(name));
        let by_address = match address {
            None => None,
            Some(IpAddr::V4(v4)) => self.v4.get(&Ipv4Net::from(v4)),
            Some(IpAddr::V6(v6)) => self.v6.get(&Ipv6Net::from(v6)),
        };
        let mut found = [by_name, by_address].into_iter().flatten();
        found.any(|ports| ports.name(port))
    }
}

impl std::fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RuleSet({} rules)", self.len)
    }
}
