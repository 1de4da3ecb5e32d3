//! Quotas of an app for the operator: as messages, and as figures.
//!
//! Called by `operation` and `figures`.

use wapo_host::quotas::QuotaUnit;
use wapo_host::{QuotaKind, QuotaReading};
use wapo_rpc::message::{Quota, StringPair};

use crate::quotas::{self, QuotaChange, shown};
use crate::store::Settings;
use crate::worker::App;

/// Reads changes as they come in a call.
///
/// # Errors
///
/// A text that names the quota or the value.
pub(super) fn changes(pairs: &[StringPair]) -> Result<Vec<(QuotaKind, QuotaChange)>, String> {
    let pairs = pairs.iter();
    quotas::changes(pairs.map(|pair| (pair.key.as_str(), pair.value.as_str())))
}

/// The quotas that were decided for an app.
pub(super) fn pairs(settings: &Settings) -> Vec<StringPair> {
    let limits = quotas::limits_of(&settings.quotas);
    let pair = |(kind, limit): (QuotaKind, u64)| StringPair {
        key: kind.name().to_owned(),
        value: shown(kind, limit),
    };
    limits.iter().map(pair).collect()
}

/// What is allowed to an app, and what it uses of that.
pub(super) fn of(app: &App) -> Vec<Quota> {
    let own = app.quotas.own();
    let quota = |kind: &QuotaKind| {
        let info = kind.info();
        let reading = app.quotas.read(*kind, &app.ledger);
        Quota {
            name: info.name.to_owned(),
            title: info.title.to_owned(),
            unit: unit(info.unit).to_owned(),
            at_limit: info.at_limit.name().to_owned(),
            limit: shown(*kind, reading.limit.unwrap_or(u64::MAX)),
            max: reading.limit.unwrap_or_default(),
            is_limited: reading.limit.is_some(),
            is_own: own.get(*kind).is_some(),
            used: reading.used,
            refused: reading.refused,
        }
    };
    QuotaKind::ALL.iter().map(quota).collect()
}

/// The quotas of an app that have a limit.
pub(super) fn limited(app: &App) -> impl Iterator<Item = (QuotaKind, QuotaReading)> + '_ {
    let read = |kind: &QuotaKind| (*kind, app.quotas.read(*kind, &app.ledger));
    let all = QuotaKind::ALL.iter().map(read);
    all.filter(|(_, reading)| reading.limit.is_some())
}

fn unit(unit: QuotaUnit) -> &'static str {
    match unit {
        QuotaUnit::Count => "count",
        QuotaUnit::Bytes => "bytes",
        QuotaUnit::BytesPerSecond => "bytes/s",
        QuotaUnit::Gas => "gas",
        QuotaUnit::GasPerSecond => "gas/s",
        QuotaUnit::MilliCores => "millicores",
    }
}
