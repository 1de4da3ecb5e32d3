//! Where a guest may connect to.
//!
//! A policy is asked twice: about the host as the guest wrote it, and about each
//! address right before it is dialled. [`EgressRules`] decides by rules of the worker
//! and of the app, in this order; the first that applies decides:
//!
//! 1. the worker's rules that deny,
//! 2. the app's rules that deny,
//! 3. the worker's own ports, unless a rule of 4 names the address (or the very name)
//!    and the port,
//! 4. the app's and the worker's rules that allow,
//! 5. the default: public addresses, unless worker or app say that only rules count.
//!
//! Each rule is about names, networks or everything, and all ports or one. A name is
//! denied as such; it is allowed with whatever address it resolves to, while its
//! addresses are still looked for in rules that deny. Called by the calls that
//! connect and by `net::connect`, by way of `net::gate`.

mod host;
mod rule;
mod rule_set;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use crate::net::address::{canonical, special_range, tunnels_to};
use crate::net::machine::Machine;

pub use host::{Host, NoHost};
pub use rule::{EgressRule, RuleError};
pub use rule_set::RuleSet;

use host::looks_public;

/// Decides about outgoing connections of one app.
pub trait EgressPolicy: Send + Sync + 'static {
    /// Whether the guest may try to connect to this name or literal address, in any
    /// spelling. A text that is neither (see [`Host::parse`]) is not this policy's
    /// business: it is never resolved.
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

    /// Whether a proxy may be asked for a name that the proxy resolves, to whatever
    /// address.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the reason for the operator.
    fn check_unresolved(&self, host: &str, port: u16) -> Result<(), Denied>;

    /// Whether what is denied is counted and told, and then done all the same. This
    /// never holds for the worker's own ports.
    fn only_audits(&self) -> bool {
        false
    }
}

/// A connection that the policy refused, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denied {
    /// What the guest wanted to reach.
    pub target: String,
    /// Why it may not.
    pub reason: DenyReason,
    /// The narrowest rule that would allow it, where one could.
    pub rule: String,
    /// Whether it is one of the worker's own ports, which an audit keeps closed
    /// whatever the reason is.
    pub is_own_port: bool,
}

/// Why a connection was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DenyReason {
    /// A rule of the worker denies it.
    WorkerRule,
    /// A rule of the app denies it.
    AppRule,
    /// The worker listens there.
    OwnPort,
    /// An address of this machine.
    OwnAddress,
    /// An address that is not public, of this kind.
    Special(&'static str),
    /// A name that a proxy would resolve, and that is no public one.
    PrivateName,
    /// Only rules count here, and there is none for it.
    NoRule,
    /// Datagrams would go around the proxy, which carries none.
    Proxy,
}

impl std::fmt::Display for DenyReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::WorkerRule => "denied by a rule of this worker",
            Self::AppRule => "denied by a rule of this app",
            Self::OwnPort => "the worker's own port",
            Self::OwnAddress => "address of this machine",
            Self::Special(kind) => kind,
            Self::PrivateName => "a name of private networks, which a proxy would resolve",
            Self::NoRule => "only what rules allow may be reached",
            Self::Proxy => "this worker connects by a proxy, which carries none",
        })
    }
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            target,
            reason,
            rule,
            is_own_port: _,
        } = self;
        let what = match reason {
            DenyReason::Proxy => "no datagrams to or from",
            _ => "not allowed to connect to",
        };
        write!(f, "{what} {target}: egress denied ({reason})")?;
        match reason {
            DenyReason::WorkerRule => {
                write!(f, "; the operator can change egress-deny of the worker")
            }
            DenyReason::AppRule => {
                write!(f, "; see --deny-egress of its deployment and `wapo egress`")
            }
            DenyReason::Proxy => Ok(()),
            _ => write!(f, "; the rule {rule} allows it (--allow-egress {rule})"),
        }
    }
}

impl std::error::Error for Denied {}

/// What holds where no rule says anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EgressDefault {
    /// Public addresses are allowed.
    #[default]
    Public,
    /// Nothing is.
    Nothing,
}

impl std::str::FromStr for EgressDefault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "public" => Ok(Self::Public),
            "none" => Ok(Self::Nothing),
            _ => Err(format!("`{text}` is neither public nor none")),
        }
    }
}

impl std::fmt::Display for EgressDefault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Nothing => "none",
        })
    }
}

/// The worker's part of the policy, for all apps.
#[derive(Clone, Debug, Default)]
pub struct WorkerEgress {
    /// What no app may reach.
    pub deny: RuleSet,
    /// What every app may reach.
    pub allow: RuleSet,
    /// What holds without a rule.
    pub default: EgressDefault,
    /// Whether what is denied is only counted and told.
    pub audit: bool,
}

/// An app's part of the policy.
#[derive(Clone, Debug, Default)]
pub struct AppEgress {
    /// What it may not reach.
    pub deny: RuleSet,
    /// What it may reach.
    pub allow: RuleSet,
    /// [`EgressDefault::Nothing`] narrows the worker's default; the other leaves it.
    pub default: EgressDefault,
}

/// Rules of the worker and of an app, whose own may change. The default allows public
/// addresses.
#[derive(Debug, Default)]
pub struct EgressRules {
    now: RwLock<Arc<Rules>>,
}

/// The rules of one moment.
#[derive(Debug, Default)]
struct Rules {
    worker: Arc<WorkerEgress>,
    app: AppEgress,
    machine: Arc<Machine>,
}

impl EgressRules {
    /// Allows public addresses and what one of the rules names.
    pub fn new(allow: Vec<EgressRule>) -> Self {
        Self::on(Arc::default(), allow)
    }

    /// The same for a worker on this machine.
    pub fn on(machine: Arc<Machine>, allow: Vec<EgressRule>) -> Self {
        let app = AppEgress {
            allow: allow.into_iter().collect(),
            ..AppEgress::default()
        };
        Self::of(machine, Arc::default(), app)
    }

    /// An app's rules on top of the worker's.
    pub fn of(machine: Arc<Machine>, worker: Arc<WorkerEgress>, app: AppEgress) -> Self {
        let rules = Rules {
            worker,
            app,
            machine,
        };
        Self {
            now: RwLock::new(Arc::new(rules)),
        }
    }

    /// Puts others in the place of the app's rules. What is dialled from now on is judged
    /// by them; connections that are there stay.
    pub fn set_app(&self, app: AppEgress) {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        *now = Arc::new(Rules {
            worker: Arc::clone(&now.worker),
            app,
            machine: Arc::clone(&now.machine),
        });
    }

    fn now(&self) -> Arc<Rules> {
        // A change is one assignment.
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&now)
    }
}

impl Rules {
    /// Whether a rule that denies is about this.
    fn denied(&self, destination: &Destination<'_>) -> Result<(), DenyReason> {
        let lists = [
            (&self.worker.deny, DenyReason::WorkerRule),
            (&self.app.deny, DenyReason::AppRule),
        ];
        match lists
            .into_iter()
            .find(|(rules, _)| destination.is_denied_by(rules))
        {
            Some((_, reason)) => Err(reason),
            None => Ok(()),
        }
    }

    fn allow_lists(&self) -> [&RuleSet; 2] {
        [&self.app.allow, &self.worker.allow]
    }

    fn is_allowed(&self, destination: &Destination<'_>) -> bool {
        self.allow_lists()
            .iter()
            .any(|rules| destination.is_allowed_by(rules))
    }

    fn is_named(&self, destination: &Destination<'_>) -> bool {
        let Destination {
            name,
            address,
            port,
        } = *destination;
        let mut lists = self.allow_lists().into_iter();
        lists.any(|rules| rules.names_exactly(name, address.map(canonical), port))
    }

    /// Whether an address, or the end of its tunnel, is one of this machine.
    fn leads_here(&self, address: IpAddr) -> bool {
        let mut inner = tunnels_to(canonical(address));
        self.machine.has(address) || inner.any(|inner| self.machine.has(inner.into()))
    }

    /// Whether an address and a port are the worker's own.
    fn is_own_port(&self, address: SocketAddr) -> bool {
        self.machine.owns_port(address.port()) && self.leads_here(address.ip())
    }

    /// Whether a proxy that resolves the name might reach the worker's own port.
    fn may_be_own_port(&self, name: &str, port: u16) -> bool {
        self.machine.owns_port(port) && !looks_public(name)
    }

    fn default_allows(&self) -> bool {
        let all = [self.worker.default, self.app.default];
        all.iter().all(|default| *default == EgressDefault::Public)
    }

    fn judge_address(
        &self,
        destination: &Destination<'_>,
        address: IpAddr,
    ) -> Result<(), DenyReason> {
        self.denied(destination)?;
        if self.is_own_port(SocketAddr::new(address, destination.port)) {
            return match self.is_named(destination) {
                true => Ok(()),
                false => Err(DenyReason::OwnPort),
            };
        }
        if self.is_allowed(destination) {
            return Ok(());
        }
        if let Some(kind) = special_range(address) {
            return Err(DenyReason::Special(kind));
        }
        if self.leads_here(address) {
            return Err(DenyReason::OwnAddress);
        }
        match self.default_allows() {
            true => Ok(()),
            false => Err(DenyReason::NoRule),
        }
    }

    fn judge_unresolved(
        &self,
        destination: &Destination<'_>,
        name: &str,
    ) -> Result<(), DenyReason> {
        self.denied(destination)?;
        if self.may_be_own_port(name, destination.port) && !self.is_named(destination) {
            return Err(DenyReason::OwnPort);
        }
        if self.is_allowed(destination) {
            return Ok(());
        }
        match (looks_public(name), self.default_allows()) {
            (false, _) => Err(DenyReason::PrivateName),
            (true, false) => Err(DenyReason::NoRule),
            (true, true) => Ok(()),
        }
    }
}

/// What rules are asked about.
struct Destination<'a> {
    name: Option<&'a str>,
    address: Option<IpAddr>,
    port: u16,
}

impl Destination<'_> {
    /// A rule that denies is about every form and every end of tunnels.
    fn is_denied_by(&self, rules: &RuleSet) -> bool {
        if rules.is_empty() {
            return false;
        }
        let port = self.port;
        let by_name = |name| rules.has_name(name, port);
        let by_address = |address: IpAddr| {
            let meant = canonical(address);
            rules.has_address(meant, port)
                || (meant != address && rules.has_address(address, port))
                || tunnels_to(meant).any(|inner| rules.has_address(inner.into(), port))
        };
        rules.has_any(port)
            || self.name.is_some_and(by_name)
            || self.address.is_some_and(by_address)
    }

    fn is_allowed_by(&self, rules: &RuleSet) -> bool {
        let port = self.port;
        let by_name = |name| rules.has_name(name, port);
        let by_address = |address| rules.has_address(canonical(address), port);
        !rules.is_empty()
            && (rules.has_any(port)
                || self.name.is_some_and(by_name)
                || self.address.is_some_and(by_address))
    }
}

impl EgressPolicy for EgressRules {
    fn check_name(&self, host: &str, port: u16) -> Result<(), Denied> {
        self.now().check_name(host, port)
    }

    fn check_address(&self, host: &str, address: SocketAddr) -> Result<(), Denied> {
        self.now().check_address(host, address)
    }

    fn check_unresolved(&self, host: &str, port: u16) -> Result<(), Denied> {
        self.now().check_unresolved(host, port)
    }

    fn only_audits(&self) -> bool {
        self.now().worker.audit
    }
}

impl Rules {
    fn check_name(&self, host: &str, port: u16) -> Result<(), Denied> {
        match Host::parse(host) {
            Ok(Host::Address(address)) => self.check_address(host, (address, port).into()),
            Ok(Host::Name(name)) => {
                let destination = Destination {
                    name: Some(&name),
                    address: None,
                    port,
                };
                let judged = self.denied(&destination);
                judged.map_err(|reason| Denied::of_name(&name, port, reason))
            }
            Err(NoHost) => Ok(()),
        }
    }

    fn check_address(&self, host: &str, address: SocketAddr) -> Result<(), Denied> {
        let host = Host::parse(host).ok();
        let name = host.as_ref().and_then(Host::name);
        let destination = Destination {
            name,
            address: Some(address.ip()),
            port: address.port(),
        };
        let judged = self.judge_address(&destination, address.ip());
        judged.map_err(|reason| Denied {
            is_own_port: self.is_own_port(address),
            ..Denied::of_address(name, address, reason)
        })
    }

    fn check_unresolved(&self, host: &str, port: u16) -> Result<(), Denied> {
        let name = match Host::parse(host) {
            Ok(Host::Address(address)) => {
                return self.check_address(host, (address, port).into());
            }
            Ok(Host::Name(name)) => name,
            Err(NoHost) => return Ok(()),
        };
        let destination = Destination {
            name: Some(&name),
            address: None,
            port,
        };
        let judged = self.judge_unresolved(&destination, &name);
        judged.map_err(|reason| Denied {
            is_own_port: self.may_be_own_port(&name, port),
            ..Denied::of_name(&name, port, reason)
        })
    }
}

impl Denied {
    pub(crate) fn of_name(name: &str, port: u16, reason: DenyReason) -> Self {
        Self {
            target: format!("{name}:{port}"),
            reason,
            rule: format!("{name}:{port}"),
            is_own_port: false,
        }
    }

    fn of_address(name: Option<&str>, address: SocketAddr, reason: DenyReason) -> Self {
        let (target, rule) = match name {
            None => (address.to_string(), address.to_string()),
            Some(name) => (
                format!("{name} ({address})"),
                format!("{name}:{}", address.port()),
            ),
        };
        Self {
            target,
            reason,
            rule,
            is_own_port: false,
        }
    }
}

#[cfg(test)]
mod tests;
