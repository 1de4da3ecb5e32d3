//! Quotas as people write them, and what the worker gives.
//!
//! `connections-in=100`, `egress-per-second=10M`, `cpu=0.5`: the same names and
//! values in the configuration, in calls and in the command. What an app has of its
//! own stands before what the worker gives every app. How they are counted, and what
//! happens at each, is the host's (`wapo_host::quotas`). Used by `worker`, by the
//! operator's interface and by the daemon's options.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use wapo_host::quotas::QuotaUnit;
use wapo_host::{QuotaKind, QuotaLimits, Quotas};

use crate::config::ByteSize;
use crate::limits::APP_REQUESTS_MAX;
use crate::mistakes;
use crate::store::QuotaEntry;

/// Stands for a quota without a limit.
pub(crate) const UNLIMITED: u64 = u64::MAX;

/// The word for a quota without a limit, whatever the worker gives.
const UNLIMITED_WORD: &str = "unlimited";

/// The word for what the worker gives.
const DEFAULT_WORD: &str = "default";

/// Thousandths of a core in one.
const MILLI: u64 = 1000;

/// Cores at most: more than any machine has.
const CORES_MAX: u64 = 100_000;

/// Digits after the point of a number of cores.
const CORE_DECIMALS_MAX: usize = 3;

/// A value of a quota as it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum QuotaChange {
    /// As much as the worker gives every app.
    Default,
    /// So much; [`UNLIMITED`] for no limit.
    Limit(u64),
}

/// Reads the name of a quota.
///
/// # Errors
///
/// A text that names the one that may be meant.
pub(crate) fn kind(name: &str) -> Result<QuotaKind, String> {
    QuotaKind::from_name(name).ok_or_else(|| {
        let names = QuotaKind::ALL.iter().map(|kind| kind.name());
        match mistakes::similar(name, names.clone()) {
            Some(known) => format!("there is no quota `{name}`; did you mean `{known}`?"),
            None => {
                let all: Vec<_> = names.collect();
                format!("there is no quota `{name}`: they are {}", all.join(", "))
            }
        }
    })
}

/// Reads a value of a quota; nothing at all is the default.
///
/// # Errors
///
/// A text with the value and the form that it should have.
pub(crate) fn value(kind: QuotaKind, text: &str) -> Result<QuotaChange, String> {
    let text = text.trim();
    let limit = match text {
        "" | DEFAULT_WORD => return Ok(QuotaChange::Default),
        UNLIMITED_WORD => UNLIMITED,
        text => amount(kind, text)
            .map_err(|reason| format!("`{}`: {reason}, or {UNLIMITED_WORD}", kind.name()))?,
    };
    Ok(QuotaChange::Limit(limit))
}

fn amount(kind: QuotaKind, text: &str) -> Result<u64, String> {
    let amount = match kind.info().unit {
        QuotaUnit::Bytes => size(text, text),
        QuotaUnit::BytesPerSecond => size(text.strip_suffix("/s").unwrap_or(text), text),
        QuotaUnit::MilliCores => cores(text),
        QuotaUnit::Count => {
            let number = text.parse::<u32>().ok().map(u64::from);
            number.ok_or_else(|| format!("`{text}` is not a number: write one such as 100"))
        }
        QuotaUnit::Gas | QuotaUnit::GasPerSecond => {
            let number = text.replace('_', "").parse::<u64>().ok();
            number.ok_or_else(|| format!("`{text}` is not a number: write gas such as 1000000"))
        }
    }?;
    match amount < UNLIMITED {
        true => Ok(amount),
        false => Err(format!("`{text}` is too large")),
    }
}

fn size(text: &str, whole: &str) -> Result<u64, String> {
    let ByteSize(bytes) = text
        .parse()
        .map_err(|_| format!("`{whole}` is not a size: write bytes such as 64K or 1.5M"))?;
    Ok(bytes)
}

fn cores(text: &str) -> Result<u64, String> {
    let error = || format!("`{text}` is not a number of cores: write one such as 0.5 or 2");
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || decimals.len() > CORE_DECIMALS_MAX {
        return Err(error());
    }
    let whole: u64 = whole.parse().map_err(|_| error())?;
    let thousandths: u64 = format!("{decimals:0<CORE_DECIMALS_MAX$}")
        .parse()
        .map_err(|_| error())?;
    if whole > CORES_MAX {
        return Err(error());
    }
    Ok(whole * MILLI + thousandths)
}

/// Writes a limit in the form in which [`value`] reads it.
pub(crate) fn shown(kind: QuotaKind, limit: u64) -> String {
    if limit == UNLIMITED {
        return UNLIMITED_WORD.to_owned();
    }
    match kind.info().unit {
        QuotaUnit::MilliCores => {
            let text = format!("{}.{:03}", limit / MILLI, limit % MILLI);
            let text = text.trim_end_matches('0').trim_end_matches('.');
            text.to_owned()
        }
        QuotaUnit::Bytes | QuotaUnit::BytesPerSecond => {
            let units = [(30, "G"), (20, "M"), (10, "K")];
            let exact = |(shift, _): &&(u32, _)| limit > 0 && limit.is_multiple_of(1 << shift);
            match units.iter().find(exact) {
                Some((shift, unit)) => format!("{}{unit}", limit >> shift),
                None => limit.to_string(),
            }
        }
        QuotaUnit::Count | QuotaUnit::Gas | QuotaUnit::GasPerSecond => limit.to_string(),
    }
}

/// Changes that set these limits.
pub(crate) fn changes_to(limits: &QuotaLimits) -> Vec<(QuotaKind, QuotaChange)> {
    let set = |(kind, limit)| (kind, QuotaChange::Limit(limit));
    limits.iter().map(set).collect()
}

/// Reads changes by name.
///
/// # Errors
///
/// As [`kind`] and [`value`].
pub(crate) fn changes<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<(QuotaKind, QuotaChange)>, String> {
    let read = |(name, text)| {
        let kind = kind(name)?;
        Ok((kind, value(kind, text)?))
    };
    pairs.into_iter().map(read).collect()
}

/// Changes limits as the operator has asked.
pub(crate) fn change(limits: &mut QuotaLimits, kind: QuotaKind, change: QuotaChange) {
    limits.set(
        kind,
        match change {
            QuotaChange::Default => None,
            QuotaChange::Limit(limit) => Some(limit),
        },
    );
}

/// Quotas as one text: `connections-in=100,cpu=0.5`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct QuotaList(pub QuotaLimits);

impl QuotaList {
    /// Sets one by name.
    ///
    /// # Errors
    ///
    /// A text that names the quota or the value, and what would be right.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        let kind = kind(name)?;
        change(&mut self.0, kind, value(kind, text)?);
        Ok(())
    }
}

impl FromStr for QuotaList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut list = Self::default();
        for entry in text.split(',').filter(|entry| !entry.trim().is_empty()) {
            let (name, text) = entry.split_once('=').ok_or_else(|| {
                format!("`{entry}` is not a quota: write NAME=VALUE such as connections-in=100")
            })?;
            list.set(name.trim(), text)?;
        }
        Ok(list)
    }
}

impl fmt::Display for QuotaList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (kind, limit)) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{}={}", kind.name(), shown(kind, limit))?;
        }
        Ok(())
    }
}

/// What the worker gives.
#[derive(Debug)]
pub(crate) struct WorkerQuotas {
    /// To each app that has nothing of its own.
    each: QuotaLimits,
    /// To all together.
    pub(crate) all: Arc<Quotas>,
}

impl WorkerQuotas {
    pub(crate) fn new(each: QuotaLimits, all: &QuotaLimits) -> Self {
        Self {
            each,
            all: Arc::new(Quotas::new(all, None, 0)),
        }
    }

    /// The limits that hold for an app which has `own` ones, and so many requests by an
    /// older setting; 0 for none.
    pub(crate) fn limits(&self, own: &QuotaLimits, requests_max: u32) -> QuotaLimits {
        let mut older = QuotaLimits::default();
        let requests = Some(u64::from(requests_max)).filter(|max| *max > 0);
        older.set(QuotaKind::Requests, requests);
        let mut last = QuotaLimits::default();
        last.set(QuotaKind::Requests, Some(APP_REQUESTS_MAX as u64));
        own.or(&older).or(&self.each).or(&last)
    }

    /// Bytes that an app with these quotas may have on disk.
    pub(crate) fn storage_max(&self, own: &QuotaLimits) -> u64 {
        let limits = own.or(&self.each);
        limits.get(QuotaKind::Storage).unwrap_or(UNLIMITED)
    }
}

/// The limits of a record. Those of a later version of the daemon are left out.
pub(crate) fn limits_of(entries: &[QuotaEntry]) -> QuotaLimits {
    let mut limits = QuotaLimits::default();
    for entry in entries {
        if let Some(kind) = QuotaKind::from_name(&entry.name) {
            limits.set(kind, Some(entry.limit));
        }
    }
    limits
}

/// Limits for a record.
pub(crate) fn entries_of(limits: &QuotaLimits) -> Vec<QuotaEntry> {
    let entry = |(kind, limit): (QuotaKind, u64)| QuotaEntry {
        name: kind.name().to_owned(),
        limit,
    };
    limits.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<QuotaChange, String> {
        value(kind(name)?, text)
    }

    #[test]
    fn values_have_the_units_of_their_quotas() {
        for (name, text, limit, shown_as) in [
            ("connections-in", "100", 100, "100"),
            ("timers", "0", 0, "0"),
            ("memory", "64M", 64 << 20, "64M"),
            ("storage", "1.5K", 1536, "1536"),
            ("egress-per-second", "10M", 10 << 20, "10M"),
            ("ingress-per-second", "500K/s", 500 << 10, "500K"),
            ("cpu", "0.5", 500, "0.5"),
            ("cpu", "2", 2000, "2"),
            ("cpu", "1.025", 1025, "1.025"),
            ("gas", "1_000_000", 1_000_000, "1000000"),
            ("gas-per-second", "7", 7, "7"),
            ("handles", "unlimited", UNLIMITED, "unlimited"),
        ] {
            assert_eq!(
                read(name, text),
                Ok(QuotaChange::Limit(limit)),
                "{name}={text}"
            );
            let kind = kind(name).expect(name);
            assert_eq!(shown(kind, limit), shown_as, "{name}={text}");
            assert_eq!(value(kind, shown_as), Ok(QuotaChange::Limit(limit)));
        }
        assert_eq!(read("cpu", "default"), Ok(QuotaChange::Default));
        assert_eq!(read("cpu", ""), Ok(QuotaChange::Default));
    }

    #[test]
    fn mistakes_are_named_with_what_would_be_right() {
        for (name, text, expected) in [
            ("conections-in", "1", "did you mean `connections-in`?"),
            ("speed", "1", "there is no quota `speed`: they are"),
            (
                "connections-in",
                "-1",
                "`connections-in`: `-1` is not a number",
            ),
            ("connections-in", "1.5", "is not a number"),
            ("connections-in", "99999999999", "is not a number"),
            ("memory", "much", "`much` is not a size"),
            ("memory", "16777216T", "is not a size"),
            ("cpu", "half", "`half` is not a number of cores"),
            ("cpu", ".5", "is not a number of cores"),
            ("cpu", "0.0001", "is not a number of cores"),
            ("cpu", "1e9", "is not a number of cores"),
            ("cpu", "99999999999999999999", "is not a number of cores"),
            ("gas", "18446744073709551615", "is too large"),
            ("gas", "-5", "is not a number"),
        ] {
            let error = read(name, text).expect_err(text);
            assert!(error.contains(expected), "{name}={text}: {error}");
        }
    }

    #[test]
    fn lists_are_read_and_shown() {
        let list: QuotaList = "cpu=0.5, connections-in=10".parse().expect("a list");
        assert_eq!(list.to_string(), "connections-in=10,cpu=0.5");
        assert_eq!("".parse::<QuotaList>(), Ok(QuotaList::default()));
        let error = "cpu".parse::<QuotaList>().expect_err("no value");
        assert!(error.contains("NAME=VALUE"), "{error}");
    }
}
