//! What apps have used.

use parity_scale_codec::{Decode, Encode};
use wapo_crypto::ContentType;

use super::session::SESSION_BYTES;
use super::usage_report::UsageTotals;
use super::{Bounded, Signature, Statement, TooLong};
use crate::limits::METRICS_APPS_MAX;
use crate::manifest::AppAddress;

/// Usage of several apps, in whichever version.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "derived code narrows the index"
)]
pub enum VersionedAppsMetrics {
    /// The version that is in use.
    #[codec(index = 0)]
    V0(AppsMetrics),
}

/// Usage of several apps at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct AppsMetrics {
    /// Which report of which session this is.
    pub token: MetricsToken,
    /// The apps.
    pub apps: Bounded<Vec<AppMetrics>, METRICS_APPS_MAX>,
}

/// Orders the reports of a session, and tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct MetricsToken {
    /// Rises with each report.
    pub sn: u64,
    /// The worker's session.
    pub session: [u8; SESSION_BYTES],
    /// Random.
    pub nonce: [u8; 32],
}

/// Usage of one app since it was deployed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct AppMetrics {
    /// Address of the app.
    pub address: AppAddress,
    /// Random number of its deployment.
    pub session: [u8; SESSION_BYTES],
    /// Time that instances have run, added up, in milliseconds.
    pub running_time_ms: u64,
    /// Gas.
    pub gas_consumed: u64,
    /// Bytes received.
    pub network_ingress: u64,
    /// Bytes sent.
    pub network_egress: u64,
    /// Bytes read from storage.
    pub storage_read: u64,
    /// Bytes written to storage.
    pub storage_write: u64,
    /// Storage by time, in MiB seconds.
    pub storage_used: u128,
    /// Memory by time, in MiB seconds.
    pub memory_used: u128,
    /// Tip that the app has asked to pay.
    pub tip: u64,
    /// Instances started.
    pub starts: u64,
}

impl AppMetrics {
    /// The figures alone; requests are not among them.
    pub fn totals(&self) -> UsageTotals {
        UsageTotals {
            running_time_ms: self.running_time_ms,
            gas_consumed: self.gas_consumed,
            network_ingress: self.network_ingress,
            network_egress: self.network_egress,
            storage_read: self.storage_read,
            storage_write: self.storage_write,
            storage_used: self.storage_used,
            memory_used: self.memory_used,
            tip: self.tip,
            starts: self.starts,
            requests: 0,
        }
    }
}

impl VersionedAppsMetrics {
    /// Makes a report.
    ///
    /// # Errors
    ///
    /// [`TooLong`] for more apps than a report may have.
    pub fn new(token: MetricsToken, apps: Vec<AppMetrics>) -> Result<Self, TooLong> {
        let apps = Bounded::new(apps)?;
        Ok(Self::V0(AppsMetrics { token, apps }))
    }
}

impl Statement for VersionedAppsMetrics {
    const CONTENT_TYPE: ContentType = ContentType::Metrics;
}

/// A report, signed.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SignedAppsMetrics {
    /// What is signed.
    pub metrics: VersionedAppsMetrics,
    /// The worker's signature.
    pub signature: Signature,
    /// The worker's public key.
    pub worker_pubkey: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;

    const TOKEN: MetricsToken = MetricsToken {
        sn: 5,
        session: [1; 32],
        nonce: [2; 32],
    };
    const APP: AppMetrics = AppMetrics {
        address: AppAddress([0xaa; 32]),
        session: [0xbb; 32],
        running_time_ms: 1,
        gas_consumed: 2,
        network_ingress: 3,
        network_egress: 4,
        storage_read: 5,
        storage_write: 6,
        storage_used: 7,
        memory_used: 8,
        tip: 9,
        starts: 10,
    };

    #[test]
    fn a_report_is_the_documented_layout() {
        let report = VersionedAppsMetrics::new(TOKEN, vec![APP]).expect("one app");
        let mut expected = vec![0];
        expected.extend(5u64.to_le_bytes());
        expected.extend([1; 32]);
        expected.extend([2; 32]);
        expected.push(4);
        expected.extend([0xaa; 32]);
        expected.extend([0xbb; 32]);
        expected.extend((1..=6u64).flat_map(u64::to_le_bytes));
        expected.extend((7..=8u128).flat_map(u128::to_le_bytes));
        expected.extend((9..=10u64).flat_map(u64::to_le_bytes));
        assert_eq!(report.encode(), expected);
        assert_eq!(decode(&expected), Ok(report));
    }

    #[test]
    fn a_report_has_at_most_64_apps() {
        let full = VersionedAppsMetrics::new(TOKEN, vec![APP; 64]).expect("64 apps");
        assert_eq!(decode(&full.encode()), Ok(full));
        let error = VersionedAppsMetrics::new(TOKEN, vec![APP; 65]).expect_err("65 apps");
        assert_eq!(
            error,
            TooLong {
                actual: 65,
                max: 64
            }
        );
        let long = (0u8, TOKEN, vec![APP; 65]).encode();
        assert!(decode::<VersionedAppsMetrics>(&long).is_err());
    }
}
