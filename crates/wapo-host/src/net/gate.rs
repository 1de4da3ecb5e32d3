//! The one place where the egress policy is checked and refusals are counted; in
//! audit mode a refusal is turned into a permission.
//!
//! All connections and datagrams of guests are checked here and nowhere else. The
//! caller logs refusals, because it knows their effect; an audit is logged here.

use std::net::SocketAddr;

use crate::net::dialer::Dialer;
use crate::net::policy::{Denied, DenyReason, Host};

/// Whether an answer is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    Yes,
    /// It repeats one that was.
    No,
}

impl Dialer {
    /// Whether the guest may try to reach a host, before anything is resolved.
    ///
    /// # Errors
    ///
    /// [`Denied`].
    pub(crate) fn check_name(&self, host: &str, port: u16) -> Result<(), Denied> {
        self.settle(self.policy.check_name(host, port), Count::Yes)
    }

    /// Whether an address of a host may be reached. To be asked right before it is.
    ///
    /// # Errors
    ///
    /// [`Denied`].
    pub(crate) fn check_address(&self, host: &str, address: SocketAddr) -> Result<(), Denied> {
        // Of a literal address the name was the address.
        let count = match Host::parse(host) {
            Ok(Host::Address(_)) => Count::No,
            _ => Count::Yes,
        };
        self.settle(self.policy.check_address(host, address), count)
    }

    /// Whether a proxy may be asked for a name that it resolves.
    ///
    /// # Errors
    ///
    /// [`Denied`].
    pub(crate) fn check_unresolved(&self, host: &str, port: u16) -> Result<(), Denied> {
        self.settle(self.policy.check_unresolved(host, port), Count::Yes)
    }

    /// What the policy says about an address, not counted: for what is asked about
    /// again before anything comes of a refusal.
    ///
    /// # Errors
    ///
    /// [`Denied`], also where the worker only audits.
    pub(crate) fn judge_address(&self, host: &str, address: SocketAddr) -> Result<(), Denied> {
        self.policy.check_name(host, address.port())?;
        self.policy.check_address(host, address)
    }

    /// Refuses datagrams because they would go around a proxy, which carries none. An
    /// audit changes nothing: it is about rules.
    pub(crate) fn deny_datagrams(&self, target: &str) -> Denied {
        self.meter.add_egress_denied();
        Denied {
            target: target.to_owned(),
            reason: DenyReason::Proxy,
            rule: String::new(),
            is_own_port: false,
        }
    }

    fn settle(&self, checked: Result<(), Denied>, count: Count) -> Result<(), Denied> {
        let Err(denied) = checked else { return Ok(()) };
        if self.policy.only_audits() && !denied.is_own_port {
            if count == Count::Yes {
                self.meter.add_egress_audited();
                self.notices.warn(&format!("audit: {denied}"));
            }
            return Ok(());
        }
        self.meter.add_egress_denied();
        Err(denied)
    }
}
