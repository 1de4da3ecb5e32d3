//! What instances of an app do for the outside, and what of that others lack.
//!
//! Read off instances, and waited for, by `ready`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// What instances do for the outside.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Offers {
    pub(super) takes_http: bool,
    pub(super) takes_queries: bool,
    /// Addresses that the instances of an app share. Any free port is another one
    /// each time, so nobody can expect it.
    pub(super) addresses: BTreeSet<SocketAddr>,
    /// The same for datagrams.
    pub(super) udp: BTreeSet<SocketAddr>,
    /// Names on the shared TLS port.
    pub(super) names: BTreeSet<Arc<str>>,
}

impl Offers {
    /// What of this the other one does not do, in words that follow its name.
    pub(super) fn missing_in(&self, other: &Self) -> Option<String> {
        let mut missing = Vec::new();
        if self.takes_http && !other.takes_http {
            missing.push("answers no HTTP requests".to_owned());
        }
        if self.takes_queries && !other.takes_queries {
            missing.push("answers no queries".to_owned());
        }
        for address in self.addresses.difference(&other.addresses) {
            missing.push(format!("does not listen on {address}"));
        }
        for address in self.udp.difference(&other.udp) {
            missing.push(format!("does not listen on {address}, UDP"));
        }
        for name in self.names.difference(&other.names) {
            missing.push(format!("does not serve {name} by TLS"));
        }
        (!missing.is_empty()).then(|| missing.join(" and "))
    }
}
