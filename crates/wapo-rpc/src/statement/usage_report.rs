//! The bill: reports of usage that form a chain.
//!
//! Each report names the one before by its hash, carries the root of a Merkle tree
//! over what each app has used, and is signed. Figures are sums since an app's
//! deployment, and each entry says from which sums it went on; so nothing can be left
//! out in the middle, and a customer gets the entries of one app with proofs and sees
//! no other. Made by the daemon, exported by `Operation.UsageExport`, checked by
//! `wapo-verify`.

use parity_scale_codec::{Decode, Encode};
use wapo_crypto::{ContentType, SIGNATURE_BYTES, blake2b_256, merkle};

use super::session::SESSION_BYTES;
use super::{Bounded, Statement};
use crate::limits::{REPORT_ENTRIES_MAX, REPORT_PATH_MAX};
use crate::manifest::AppAddress;

/// What a report says first.
pub const REPORT_VERSION: u8 = 1;

/// One link of the chain, as it is signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct UsageReport {
    /// [`REPORT_VERSION`].
    pub version: u8,
    /// The worker's public key.
    pub worker: [u8; 32],
    /// The worker's session.
    pub session: [u8; SESSION_BYTES],
    /// Rises by one, from 1 on, over all sessions of the worker.
    pub seq: u64,
    /// [`hash`](Self::hash) of the report before; zeros for the first of a session.
    pub previous: [u8; 32],
    /// When the report before ended, in milliseconds since 1970.
    pub from_ms: u64,
    /// When this one was made.
    pub to_ms: u64,
    /// Root of the tree over [`AppEntry::leaf`].
    pub entries: merkle::Hash,
    /// Number of entries.
    pub count: u32,
}

impl Statement for UsageReport {
    const CONTENT_TYPE: ContentType = ContentType::UsageReport;
}

impl UsageReport {
    /// By which the next report names this one: BLAKE2b-256 of what is signed.
    pub fn hash(&self) -> [u8; 32] {
        blake2b_256(&Self::CONTENT_TYPE.wrap(&self.encode()))
    }
}

/// What an app has used since it was deployed. Figures are those of
/// [`AppMetrics`](super::AppMetrics), and requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct UsageTotals {
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
    /// Requests and queries.
    pub requests: u64,
}

impl UsageTotals {
    /// The figures with their names, in the order of the encoding.
    pub fn figures(&self) -> [(&'static str, u128); 11] {
        [
            ("running_time_ms", self.running_time_ms.into()),
            ("gas_consumed", self.gas_consumed.into()),
            ("network_ingress", self.network_ingress.into()),
            ("network_egress", self.network_egress.into()),
            ("storage_read", self.storage_read.into()),
            ("storage_write", self.storage_write.into()),
            ("storage_used", self.storage_used),
            ("memory_used", self.memory_used),
            ("tip", self.tip.into()),
            ("starts", self.starts.into()),
            ("requests", self.requests.into()),
        ]
    }

    /// Which figure is smaller than before, if one is.
    pub fn shrunk_since(&self, before: &Self) -> Option<&'static str> {
        let mut pairs = self.figures().into_iter().zip(before.figures());
        pairs.find_map(|((name, now), (_, then))| (now < then).then_some(name))
    }

    /// What came on top of `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            running_time_ms: self.running_time_ms.saturating_sub(before.running_time_ms),
            gas_consumed: self.gas_consumed.saturating_sub(before.gas_consumed),
            network_ingress: self.network_ingress.saturating_sub(before.network_ingress),
            network_egress: self.network_egress.saturating_sub(before.network_egress),
            storage_read: self.storage_read.saturating_sub(before.storage_read),
            storage_write: self.storage_write.saturating_sub(before.storage_write),
            storage_used: self.storage_used.saturating_sub(before.storage_used),
            memory_used: self.memory_used.saturating_sub(before.memory_used),
            tip: self.tip.saturating_sub(before.tip),
            starts: self.starts.saturating_sub(before.starts),
            requests: self.requests.saturating_sub(before.requests),
        }
    }
}

/// What one deployment of an app has used up to a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct AppEntry {
    /// Address of the app.
    pub address: AppAddress,
    /// Random number of its deployment.
    pub deployment: [u8; SESSION_BYTES],
    /// Number of its deployment on this worker.
    pub serial: u64,
    /// When the entry before ended: the last report that has one of this deployment,
    /// or the deployment itself.
    pub from_ms: u64,
    /// The sums of the entry before; zeros in the first one.
    pub before: UsageTotals,
    /// The sums since the deployment.
    pub totals: UsageTotals,
    /// Whether the app has been removed, and no entry follows.
    pub is_final: bool,
    /// Random, so that the rest cannot be guessed from the hash.
    pub salt: [u8; 16],
}

impl AppEntry {
    /// Its place in the tree.
    pub fn leaf(&self) -> merkle::Hash {
        merkle::leaf(&self.encode())
    }
}

/// An entry and what proves that it is in a report.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ProvenEntry {
    /// Its place among the entries of the report.
    pub index: u32,
    /// The entry.
    pub entry: AppEntry,
    /// Hashes beside its way to the root, from below.
    pub path: Bounded<Vec<merkle::Hash>, REPORT_PATH_MAX>,
}

/// What goes with a report when it is handed out.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "derived code narrows the index"
)]
pub enum ReportEntries {
    /// All of them, in the order of the tree.
    #[codec(index = 0)]
    All(Bounded<Vec<AppEntry>, REPORT_ENTRIES_MAX>),
    /// Those of one app, which may be none.
    #[codec(index = 1)]
    OfOne(Bounded<Vec<ProvenEntry>, REPORT_ENTRIES_MAX>),
}

/// A report as it is handed out.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ExportedReport {
    /// What is signed.
    pub report: UsageReport,
    /// The worker's signature.
    pub signature: [u8; SIGNATURE_BYTES],
    /// What it is about.
    pub entries: ReportEntries,
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;

    #[test]
    fn reports_and_entries_are_the_documented_layout() {
        let report = UsageReport {
            version: 1,
            worker: [2; 32],
            session: [3; 32],
            seq: 4,
            previous: [5; 32],
            from_ms: 6,
            to_ms: 7,
            entries: [8; 32],
            count: 9,
        };
        let mut expected = vec![1];
        expected.extend([2; 32]);
        expected.extend([3; 32]);
        expected.extend(4u64.to_le_bytes());
        expected.extend([5; 32]);
        expected.extend([6u64, 7].into_iter().flat_map(u64::to_le_bytes));
        expected.extend([8; 32]);
        expected.extend(9u32.to_le_bytes());
        assert_eq!(report.encode(), expected);
        let signed = [&[0xff, 122], expected.as_slice()].concat();
        assert_eq!(report.hash(), blake2b_256(&signed));
        let entry = AppEntry {
            address: AppAddress([1; 32]),
            deployment: [2; 32],
            serial: 3,
            from_ms: 4,
            before: UsageTotals::default(),
            totals: UsageTotals {
                requests: 5,
                ..UsageTotals::default()
            },
            is_final: true,
            salt: [6; 16],
        };
        let bytes = entry.encode();
        assert_eq!(bytes.len(), 32 + 32 + 8 + 8 + 2 * (9 * 8 + 2 * 16) + 1 + 16);
        assert_eq!(decode(&bytes), Ok(entry));
    }

    #[test]
    fn a_figure_that_shrinks_is_named() {
        let before = UsageTotals {
            tip: 2,
            ..UsageTotals::default()
        };
        assert_eq!(UsageTotals::default().shrunk_since(&before), Some("tip"));
        assert_eq!(before.shrunk_since(&before), None);
        assert_eq!(before.since(&UsageTotals::default()), before);
    }
}
