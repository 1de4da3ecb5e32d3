//! What the store keeps, and how it is written.
//!
//! SCALE, each record behind the number of its version: a later daemon reads
//! what an earlier one wrote, and an earlier one says of a later one's record
//! that it is newer. Fields of a version never change; a record that has to is
//! given the next number, and its [`Record::older`] converts what came before.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use parity_scale_codec::{Decode, DecodeAll as _, Encode};
use wapo_host::{PortRanges, RestartPolicy, Usage};
use wapo_rpc::{AppAddress, AppManifest};

use crate::limits::KEY_VERSIONS_MAX;

/// What is kept under a version number of its own.
pub(super) trait Record: Encode + Decode {
    /// Version that is written.
    const VERSION: u8 = 1;

    /// Reads the content of an older version, one that is not 0; `None` when it
    /// is damaged. A record of version 1 has none.
    fn older(version: u8, content: &[u8]) -> Option<Self> {
        let _ = (version, content);
        None
    }
}

impl Record for AppRecord {
    /// Version 1 had no `cors`, version 2 nothing about what is denied, version 3 no
    /// `quotas`: these are the last of the settings. Version 4 had no `domains`, which
    /// follow the settings, version 5 no `more_listen_ports`, which follow those, version 6 no
    /// `claims`, which follow those, and version 7 no `attested`, which follows those.
    const VERSION: u8 = 8;

    fn older(version: u8, content: &[u8]) -> Option<Self> {
        // What each version from the second one on has added at the end.
        let added = [
            false.encode(),
            (Vec::<String>::new(), false).encode(),
            Vec::<QuotaEntry>::new().encode(),
            Vec::<DomainRecord>::new().encode(),
            Vec::<(u16, u16)>::new().encode(),
            Vec::<String>::new().encode(),
            false.encode(),
        ];
        let missing = added.get(usize::from(version.checked_sub(1)?)..)?;
        let whole = [content, &missing.concat()].concat();
        Self::decode_all(&mut whole.as_slice()).ok()
    }
}

impl Record for KeyVersions {}
impl Record for SessionRecord {}
impl Record for UsageRecord {}
impl Record for DepartedRecord {}
impl Record for BenchRecord {}
impl Record for u64 {}

/// Why a record cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unreadable {
    /// It is of this version, which only a newer daemon knows.
    Newer(u8),
    Damaged,
}

/// Writes a record in the newest version.
pub(super) fn encode<T: Record>(record: &T) -> Vec<u8> {
    let mut bytes = vec![T::VERSION];
    record.encode_to(&mut bytes);
    bytes
}

/// Reads a record of any version.
///
/// # Errors
///
/// [`Unreadable`].
pub(super) fn decode<T: Record>(bytes: &[u8]) -> Result<T, Unreadable> {
    let (version, mut content) = bytes.split_first().ok_or(Unreadable::Damaged)?;
    let record = match *version {
        0 => None,
        version if version > T::VERSION => return Err(Unreadable::Newer(version)),
        version if version < T::VERSION => T::older(version, content),
        _ => T::decode_all(&mut content).ok(),
    };
    record.ok_or(Unreadable::Damaged)
}

/// A deployed app.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct AppRecord {
    /// Number of the deployment; never used twice by a worker.
    pub(crate) serial: u64,
    /// Identifies this deployment in statements about its usage.
    pub(crate) session: [u8; 32],
    pub(crate) manifest: AppManifest,
    /// Whether requests share instances.
    pub(crate) reuse_instances: bool,
    /// Host name label; empty for none.
    pub(crate) name: String,
    /// Instances that should run; always 0 for an app on demand.
    pub(crate) target: u32,
    /// Unix time in milliseconds.
    pub(crate) deployed_at_ms: u64,
    pub(crate) settings: Settings,
    pub(crate) domains: Vec<DomainRecord>,
    /// Of the settings; see [`whole`](Self::whole).
    pub(crate) more_listen_ports: Vec<(u16, u16)>,
    /// Names that it has at the shared TLS port because it asked for them first.
    pub(crate) claims: Vec<String>,
    /// Of the settings; see [`whole`](Self::whole).
    pub(crate) attested: bool,
}

/// A domain that leads to an app.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct DomainRecord {
    /// Or a wildcard.
    pub(crate) name: String,
    /// Its certificate and the key, sealed.
    pub(crate) sealed: Option<Vec<u8>>,
}

impl AppRecord {
    pub(crate) fn address(&self) -> AppAddress {
        self.manifest.address()
    }

    /// With what is written behind the settings where it belongs.
    pub(crate) fn whole(mut self) -> Self {
        self.settings.more_listen_ports = std::mem::take(&mut self.more_listen_ports);
        self.settings.attested = self.attested;
        self
    }
}

/// When an app starts again, as [`RestartPolicy`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub(crate) enum Restart {
    #[codec(index = 0)]
    Never,
    #[default]
    #[codec(index = 1)]
    OnFailure,
    #[codec(index = 2)]
    Always,
    /// Of programs that `wapo run` runs; no worker's operator can choose it.
    #[codec(index = 3)]
    AfterPollLimit,
}

impl From<Restart> for RestartPolicy {
    fn from(restart: Restart) -> Self {
        match restart {
            Restart::Never => Self::Never,
            Restart::OnFailure => Self::OnFailure,
            Restart::Always => Self::Always,
            Restart::AfterPollLimit => Self::AfterPollLimit,
        }
    }
}

impl From<RestartPolicy> for Restart {
    fn from(policy: RestartPolicy) -> Self {
        match policy {
            RestartPolicy::Never => Self::Never,
            RestartPolicy::OnFailure => Self::OnFailure,
            RestartPolicy::Always => Self::Always,
            RestartPolicy::AfterPollLimit => Self::AfterPollLimit,
        }
    }
}

/// What an operator decides about an app; no part of its address.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub(crate) struct Settings {
    pub(crate) restart: Restart,
    /// Bytes of linear memory of one instance; `None` for the worker's limit.
    pub(crate) memory_max_bytes: Option<u64>,
    /// Gas of one instance; `None` for no limit.
    pub(crate) gas_max: Option<u64>,
    /// Life time of one instance in milliseconds; `None` for no limit.
    pub(crate) time_max_ms: Option<u64>,
    /// Share of the CPU; 0 stands for 1.
    pub(crate) weight: u32,
    /// Rules for outgoing connections, checked when the app was deployed.
    pub(crate) egress: Vec<String>,
    /// Whether cookies pass where apps share an origin.
    pub(crate) pass_cookies: bool,
    /// First and last port of the first range to listen on; `None` for the worker's.
    pub(crate) listen_ports: Option<(u16, u16)>,
    /// The same of the other ranges. A record has them at its end.
    #[codec(skip)]
    pub(crate) more_listen_ports: Vec<(u16, u16)>,
    /// Keeps listeners on loopback, whatever address the guest names.
    pub(crate) listen_on_loopback: bool,
    /// Requests at a time; 0 for the worker's limit.
    pub(crate) requests_max: u32,
    pub(crate) trace_calls: bool,
    /// Whether the app's log lines appear in the daemon's own log as well.
    pub(crate) log_to_daemon: bool,
    /// Whether the gateway lets pages of other origins use the app.
    pub(crate) cors: bool,
    /// Rules about what may not be connected to, checked when the app was deployed.
    pub(crate) egress_deny: Vec<String>,
    /// Whether only what rules allow may be connected to.
    pub(crate) egress_only_allowed: bool,
    /// Quotas of its own; of all others it has what the worker gives every app.
    pub(crate) quotas: Vec<QuotaEntry>,
    /// Whether the daemon ends TLS for its names with a certificate that attests it. A
    /// record has it at its end.
    #[codec(skip)]
    pub(crate) attested: bool,
}

/// A quota of an app, by its name: a daemon that does not know it leaves it out.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct QuotaEntry {
    pub(crate) name: String,
    /// The largest number stands for no limit.
    pub(crate) limit: u64,
}

impl Settings {
    pub(crate) fn weight(&self) -> NonZeroU32 {
        NonZeroU32::new(self.weight).unwrap_or(NonZeroU32::MIN)
    }

    pub(crate) fn time_max(&self) -> Option<Duration> {
        self.time_max_ms.map(Duration::from_millis)
    }

    /// Ports to listen on; `None` for the worker's.
    pub(crate) fn listen_ports(&self) -> Option<PortRanges> {
        let all = self.listen_ports.iter().chain(&self.more_listen_ports);
        let ranges = all.map(|(first, last)| *first..=*last).collect();
        PortRanges::new(ranges).ok()
    }
}

/// First and last port of a range.
type Ends = (u16, u16);

/// Ports to listen on as they are written: the first range, and the others.
pub(crate) fn ports_of_record(ports: Option<&PortRanges>) -> (Option<Ends>, Vec<Ends>) {
    let ranges = ports.into_iter().flat_map(PortRanges::iter);
    let mut ends = ranges.map(|range| (*range.start(), *range.end()));
    (ends.next(), ends.collect())
}

/// The worker's billing period.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct SessionRecord {
    pub(crate) id: [u8; 32],
    pub(crate) nonce: [u8; 32],
    pub(crate) pnonce: Vec<u8>,
    /// Account of whom the worker works for; empty when nobody said.
    pub(crate) recipient: Vec<u8>,
    /// Sequence numbers up to this one may have been used.
    pub(crate) reserved: u64,
}

/// What an app has used, in units that never lose a remainder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub(crate) struct Totals {
    pub(crate) gas: u64,
    pub(crate) network_ingress_bytes: u64,
    pub(crate) network_egress_bytes: u64,
    pub(crate) storage_read_bytes: u64,
    pub(crate) storage_write_bytes: u64,
    pub(crate) tip: u64,
    /// Starts of instances, restarts included.
    pub(crate) starts: u64,
    pub(crate) restarts: u64,
    pub(crate) requests: u64,
    /// Life times of all instances, in microseconds.
    pub(crate) running_us: u64,
    /// Linear memory times time.
    pub(crate) memory_byte_us: u128,
    /// Blobs and boot data times time.
    pub(crate) storage_byte_us: u128,
}

/// Bytes of a mebibyte times microseconds of a second.
const MIB_SECONDS: u128 = (1 << 20) * 1_000_000;

impl Totals {
    /// What a meter shows, and what was stored meanwhile.
    pub(crate) fn new(usage: &Usage, storage_byte_us: u128) -> Self {
        Self {
            gas: usage.gas,
            network_ingress_bytes: usage.network_ingress_bytes,
            network_egress_bytes: usage.network_egress_bytes,
            storage_read_bytes: usage.storage_read_bytes,
            storage_write_bytes: usage.storage_written_bytes,
            tip: usage.tip,
            starts: usage.starts,
            restarts: usage.restarts,
            requests: usage.requests,
            running_us: usage.running_us,
            memory_byte_us: usage.memory_byte_us,
            storage_byte_us,
        }
    }

    /// The same as a meter would show it, of which nothing runs any more.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            gas: self.gas,
            network_ingress_bytes: self.network_ingress_bytes,
            network_egress_bytes: self.network_egress_bytes,
            storage_read_bytes: self.storage_read_bytes,
            storage_written_bytes: self.storage_write_bytes,
            tip: self.tip,
            starts: self.starts,
            restarts: self.restarts,
            requests: self.requests,
            instances: 0,
            memory_bytes: 0,
            memory_byte_us: self.memory_byte_us,
            running_us: self.running_us,
        }
    }

    /// Of each number the larger one: of two readings of one app, the later is
    /// nowhere smaller.
    pub(crate) fn max_of_each(&self, other: &Self) -> Self {
        Self {
            gas: self.gas.max(other.gas),
            network_ingress_bytes: self.network_ingress_bytes.max(other.network_ingress_bytes),
            network_egress_bytes: self.network_egress_bytes.max(other.network_egress_bytes),
            storage_read_bytes: self.storage_read_bytes.max(other.storage_read_bytes),
            storage_write_bytes: self.storage_write_bytes.max(other.storage_write_bytes),
            tip: self.tip.max(other.tip),
            starts: self.starts.max(other.starts),
            restarts: self.restarts.max(other.restarts),
            requests: self.requests.max(other.requests),
            running_us: self.running_us.max(other.running_us),
            memory_byte_us: self.memory_byte_us.max(other.memory_byte_us),
            storage_byte_us: self.storage_byte_us.max(other.storage_byte_us),
        }
    }

    /// Life times of all instances in whole milliseconds.
    pub(crate) fn running_ms(&self) -> u64 {
        self.running_us / 1000
    }

    /// Linear memory over time in whole MiB × seconds.
    pub(crate) fn memory_mib_seconds(&self) -> u128 {
        self.memory_byte_us / MIB_SECONDS
    }

    /// Storage over time in whole MiB × seconds.
    pub(crate) fn storage_mib_seconds(&self) -> u128 {
        self.storage_byte_us / MIB_SECONDS
    }
}

/// What an app has used up to a moment, and what it went on holding then.
///
/// Most apps hold something and do nothing. Their sums over time follow from
/// this record and from the last moment at which the daemon is known to have
/// lived, so nothing has to be written for them every second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub(crate) struct UsageRecord {
    pub(crate) totals: Totals,
    /// The moment, as unix time in milliseconds.
    pub(crate) at_ms: u64,
    pub(crate) instances: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) storage_bytes: u64,
}

impl UsageRecord {
    /// What was used up to a later moment, if nothing else has happened.
    pub(crate) fn totals_at(&self, now_ms: u64) -> Totals {
        let passed_us = u128::from(now_ms.saturating_sub(self.at_ms)) * 1000;
        let over_time = |held: u64| u128::from(held).saturating_mul(passed_us);
        let running_us = u64::try_from(over_time(self.instances)).unwrap_or(u64::MAX);
        let totals = &self.totals;
        Totals {
            running_us: totals.running_us.saturating_add(running_us),
            memory_byte_us: totals
                .memory_byte_us
                .saturating_add(over_time(self.memory_bytes)),
            storage_byte_us: totals
                .storage_byte_us
                .saturating_add(over_time(self.storage_bytes)),
            ..*totals
        }
    }

    /// Whether the other one says the same, but for the passing of time.
    pub(crate) fn says_no_more_than(&self, other: &Self) -> bool {
        let without_time = |record: &Self| Self {
            totals: Totals {
                running_us: 0,
                memory_byte_us: 0,
                storage_byte_us: 0,
                ..record.totals
            },
            at_ms: 0,
            ..*record
        };
        without_time(self) == without_time(other)
    }
}

/// The final record of an app that was removed.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct DepartedRecord {
    pub(crate) serial: u64,
    pub(crate) address: [u8; 32],
    pub(crate) session: [u8; 32],
    pub(crate) totals: Totals,
}

/// Versions of keys that are beyond the first.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub(crate) struct KeyVersions {
    /// How often the worker's own keys were changed.
    worker_changes: u32,
    /// How often the key of an app was changed, by its address.
    app_changes: BTreeMap<[u8; 32], u32>,
}

impl KeyVersions {
    /// The version of the worker's keys for queries and answers.
    pub(crate) fn worker(&self) -> u32 {
        self.worker_changes.saturating_add(1)
    }

    /// The version of the key of an app.
    pub(crate) fn of(&self, app: &AppAddress) -> u32 {
        let changes = self.app_changes.get(&app.0);
        changes.copied().unwrap_or_default().saturating_add(1)
    }

    /// Goes on to the next version of an app's key, or of the worker's, and says which
    /// that is; `None` after the last.
    pub(crate) fn raise(&mut self, app: Option<AppAddress>) -> Option<u32> {
        let changes = match app {
            Some(app) => self.app_changes.entry(app.0).or_default(),
            None => &mut self.worker_changes,
        };
        *changes = changes
            .checked_add(1)
            .filter(|changes| *changes < u32::MAX)?;
        Some(*changes + 1)
    }

    /// Whether the key of an app may be changed: it was before, or not too many were.
    pub(crate) fn has_room_for(&self, app: &AppAddress) -> bool {
        self.app_changes.len() < KEY_VERSIONS_MAX || self.app_changes.contains_key(&app.0)
    }
}

/// Which app the worker's speed is measured with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub(crate) struct BenchRecord {
    pub(crate) address: Option<[u8; 32]>,
    pub(crate) instances: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_rounded_down_once() {
        let totals = Totals {
            memory_byte_us: 3 * MIB_SECONDS - 1,
            storage_byte_us: 3 * (1 << 20) * 1_000_000,
            running_us: 2_999,
            ..Totals::default()
        };
        assert_eq!(totals.memory_mib_seconds(), 2);
        assert_eq!(totals.storage_mib_seconds(), 3);
        assert_eq!(totals.running_ms(), 2);
    }

    #[test]
    fn what_is_held_counts_on() {
        let record = UsageRecord {
            at_ms: 1_000,
            instances: 2,
            memory_bytes: 5,
            storage_bytes: 7,
            ..UsageRecord::default()
        };
        assert_eq!(record.totals_at(900), record.totals, "clocks may go back");
        let later = record.totals_at(1_003);
        assert_eq!(later.running_us, 6_000);
        assert_eq!(later.memory_byte_us, 15_000);
        assert_eq!(later.storage_byte_us, 21_000);
        let same = UsageRecord {
            totals: later,
            at_ms: 1_003,
            ..record
        };
        assert!(same.says_no_more_than(&record));
        let more = UsageRecord {
            memory_bytes: 6,
            ..record
        };
        assert!(!more.says_no_more_than(&record));
    }

    #[test]
    fn versions_of_keys_begin_with_one_and_rise_each_for_itself() {
        let mut versions = KeyVersions::default();
        let (one, other) = (AppAddress([1; 32]), AppAddress([2; 32]));
        assert_eq!((versions.worker(), versions.of(&one)), (1, 1));
        assert_eq!(versions.raise(Some(one)), Some(2));
        assert_eq!(versions.raise(Some(one)), Some(3));
        assert_eq!(versions.raise(None), Some(2));
        assert_eq!((versions.of(&one), versions.of(&other)), (3, 1));
        assert_eq!(versions.worker(), 2);
        versions.worker_changes = u32::MAX - 1;
        assert_eq!(versions.raise(None), None);
        assert_eq!(decode(&encode(&versions)), Ok(versions));
    }

    #[test]
    fn a_key_that_was_changed_may_be_changed_again_when_no_other_may() {
        let app = |number: usize| {
            let mut address = [0; 32];
            address[..8].copy_from_slice(&number.to_le_bytes());
            AppAddress(address)
        };
        let mut versions = KeyVersions::default();
        for number in 0..KEY_VERSIONS_MAX {
            assert!(versions.has_room_for(&app(number)));
            versions.raise(Some(app(number)));
        }
        assert!(!versions.has_room_for(&app(KEY_VERSIONS_MAX)));
        assert!(versions.has_room_for(&app(0)));
    }

    #[test]
    fn records_carry_their_version() {
        let record = BenchRecord {
            address: Some([7; 32]),
            instances: 3,
        };
        let bytes = encode(&record);
        assert_eq!(bytes[0], 1);
        assert_eq!(decode(&bytes), Ok(record));
        let damaged = Err(Unreadable::Damaged);
        assert_eq!(decode::<BenchRecord>(&bytes[..bytes.len() - 1]), damaged);
        assert_eq!(decode::<BenchRecord>(&[&bytes[..], &[0]].concat()), damaged);
        assert_eq!(decode::<BenchRecord>(&[]), damaged);
        assert_eq!(decode::<BenchRecord>(&[0, 0, 0]), damaged);
        let newer = Err(Unreadable::Newer(9));
        assert_eq!(decode::<BenchRecord>(&[9, 0, 0]), newer);
    }

    #[test]
    fn a_record_that_has_changed_is_read_in_every_version() {
        #[derive(PartialEq, Eq, Debug, Encode, Decode)]
        struct Grown {
            number: u64,
            added: bool,
        }
        impl Record for Grown {
            const VERSION: u8 = 2;

            fn older(version: u8, mut content: &[u8]) -> Option<Self> {
                let number = match version {
                    1 => u64::decode_all(&mut content).ok()?,
                    _ => return None,
                };
                let added = false;
                Some(Self { number, added })
            }
        }
        let first = encode(&7_u64);
        let second = encode(&Grown {
            number: 7,
            added: true,
        });
        assert_eq!((first[0], second[0]), (1, 2));
        let read = |bytes: &[u8]| decode::<Grown>(bytes).map(|one| (one.number, one.added));
        assert_eq!(read(&first), Ok((7, false)));
        assert_eq!(read(&second), Ok((7, true)));
        assert_eq!(read(&first[..4]), Err(Unreadable::Damaged));
        assert_eq!(decode::<u64>(&second), Err(Unreadable::Newer(2)));
    }
}
