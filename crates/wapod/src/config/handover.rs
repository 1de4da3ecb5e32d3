//! The handover of the worker's key: from which worker, and to which. Part of
//! [`Config`](super::Config), used by `worker::handover`.

use wapo_rpc::client::TrustedCertificates;
use wapo_verify::Policy;
use wapo_verify::handover::{TooWide, names_programs};

/// How a key goes from one worker to another.
#[derive(Clone, Default, Debug)]
pub struct HandoverSettings {
    /// Where a worker without a key takes one; `None` to make a new one.
    pub from: Option<KeySource>,
    /// The policy of workers that get the key; `None` if no worker does.
    pub to: Option<HandoverPolicy>,
}

/// A worker that hands over its key.
#[derive(Clone, Debug)]
pub struct KeySource {
    /// Its operator's interface. The worker shows its own admin token there.
    pub url: String,
    /// What it has to be.
    pub policy: HandoverPolicy,
    /// Certificates that are trusted at its URL; `None` for those of the public
    /// authorities.
    pub trusted: Option<TrustedCertificates>,
}

/// What the other worker has to be: a policy that names its programs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HandoverPolicy(Policy);

impl HandoverPolicy {
    /// Takes a policy.
    ///
    /// # Errors
    ///
    /// [`TooWide`] for one that would let programs pass that it does not name.
    pub fn new(policy: Policy) -> Result<Self, TooWide> {
        names_programs(&policy)?;
        Ok(Self(policy))
    }

    /// Reads a policy in TOML.
    ///
    /// # Errors
    ///
    /// A text of one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let policy = toml::from_str::<Policy>(text).map_err(|error| {
            let line = error.span().map_or(1, |span| {
                let before = text.get(..span.start).unwrap_or_default();
                before.matches('\n').count() + 1
            });
            format!("line {line}: {}", error.message().replace('\n', " "))
        })?;
        Self::new(policy).map_err(|error| error.to_string())
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_names_nothing_or_something_unknown_is_refused() {
        let hash = "ab".repeat(32);
        let named = format!("[[sgx]]\nmeasurement = \"{hash}\"");
        assert!(HandoverPolicy::parse(&format!("host_controlled = []\n{named}")).is_ok());
        let error = |text: &str| HandoverPolicy::parse(text).expect_err(text);
        assert!(error("accept_simulator = true").contains("lists no program"));
        assert!(error("[[sgx]]\nsvn_min = 2").contains("any enclave would pass"));
        assert!(error(&named).contains("does not say `host_controlled`"));
        let unknown = error("accept_simulator = true\nmeasurement = \"ab\"");
        assert!(unknown.starts_with("line 2: unknown field"), "{unknown}");
    }
}
