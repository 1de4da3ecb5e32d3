//! What is in the store: its tables, all of it at once, and one change.
//!
//! The bill is in `chain`. Called by `store` and its parts, with a file that they have
//! opened.

use std::collections::BTreeMap;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use wapo_rpc::AppAddress;

use super::chain::{self, ChainEnd, ReportRecord};
use super::error::OpenError;
use super::records::{
    self, AppRecord, BenchRecord, DepartedRecord, KeyVersions, SessionRecord, Totals, UsageRecord,
};
use super::rows::{WORKER, put, record};

/// Apps by address.
pub(super) const APPS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("apps");
/// Usage of deployed apps by serial number: an app that is deployed again begins
/// anew, whatever was left behind.
const USAGE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("usage");
/// Usage of removed apps by serial number.
const DEPARTED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("departed");
/// Sealed secrets by address followed by name.
const SECRETS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("secrets");
const SESSION: &str = "session";
const NEXT_SERIAL: &str = "next serial";
const BENCH: &str = "bench";
const CLOCK: &str = "clock";
const KEY_VERSIONS: &str = "key versions";

/// One change of the store.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    PutApp(Box<AppRecord>),
    /// Removes an app with its usage and its secrets.
    RemoveApp {
        app: AppAddress,
        serial: u64,
    },
    PutUsage {
        serial: u64,
        usage: UsageRecord,
    },
    /// The daemon lived at this moment, and all usage up to it is in the store.
    PutClock(u64),
    /// The final record of an app; it includes the usage that was written before.
    PutDeparted(DepartedRecord),
    RemoveDeparted(u64),
    PutSecret {
        app: AppAddress,
        name: String,
        sealed: Vec<u8>,
    },
    RemoveSecret {
        app: AppAddress,
        name: String,
    },
    PutSession(SessionRecord),
    PutNextSerial(u64),
    PutBench(BenchRecord),
    PutKeyVersions(KeyVersions),
    /// The next link of the bill.
    PutReport(Box<ReportRecord>),
}

/// Everything that was in the store when it was opened.
#[derive(Default, Debug)]
pub(crate) struct Contents {
    pub(crate) apps: Vec<AppRecord>,
    /// Usage by serial number, up to when the daemon was last known to live.
    pub(crate) usage: BTreeMap<u64, Totals>,
    pub(crate) departed: BTreeMap<u64, DepartedRecord>,
    pub(crate) secrets: BTreeMap<AppAddress, Vec<(String, Vec<u8>)>>,
    pub(crate) session: Option<SessionRecord>,
    pub(crate) next_serial: u64,
    pub(crate) bench: BenchRecord,
    pub(crate) key_versions: KeyVersions,
    pub(crate) chain: ChainEnd,
}

impl Contents {
    /// Puts together what is known of apps whose places others had taken, and that
    /// had not left yet when the daemon ended: what they had used when it was the
    /// others' turn, and what they went on using. Gives what has to be written
    /// before time goes on.
    pub(crate) fn settle_departed(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (serial, record) in &mut self.departed {
            if let Some(totals) = self.usage.remove(serial) {
                record.totals = record.totals.max_of_each(&totals);
                changes.push(Change::PutDeparted(record.clone()));
            }
        }
        changes
    }
}

/// Makes the tables, so that reading need not ask whether they exist.
pub(super) fn make_tables(database: &Database) -> Result<(), OpenError> {
    let transaction = database.begin_write()?;
    transaction.open_table(APPS)?;
    transaction.open_table(USAGE)?;
    transaction.open_table(DEPARTED)?;
    transaction.open_table(SECRETS)?;
    transaction.open_table(WORKER)?;
    chain::make_tables(&transaction)?;
    Ok(transaction.commit()?)
}

/// Reads everything.
pub(super) fn read(database: &Database) -> Result<Contents, OpenError> {
    make_tables(database)?;
    let mut contents = Contents::default();
    let transaction = database.begin_read()?;
    for row in transaction.open_table(APPS)?.iter()? {
        let (key, value) = row?;
        let record: AppRecord = record("app", value.value())?;
        if record.address().0 != key.value() {
            return Err(OpenError::Damaged("an app under another address".into()));
        }
        contents.apps.push(record);
    }
    let worker = transaction.open_table(WORKER)?;
    let clock_ms: u64 = match worker.get(CLOCK)? {
        Some(value) => record("moment", value.value())?,
        None => 0,
    };
    for row in transaction.open_table(USAGE)?.iter()? {
        let (key, value) = row?;
        let usage: UsageRecord = record("usage", value.value())?;
        contents
            .usage
            .insert(key.value(), usage.totals_at(clock_ms));
    }
    for row in transaction.open_table(DEPARTED)?.iter()? {
        let (key, value) = row?;
        let departed = record("removed app", value.value())?;
        contents.departed.insert(key.value(), departed);
    }
    for row in transaction.open_table(SECRETS)?.iter()? {
        let (key, value) = row?;
        let (app, name) = secret_name(key.value())?;
        let sealed = value.value().to_vec();
        contents
            .secrets
            .entry(app)
            .or_default()
            .push((name, sealed));
    }
    if let Some(value) = worker.get(SESSION)? {
        contents.session = Some(record("session", value.value())?);
    }
    if let Some(value) = worker.get(NEXT_SERIAL)? {
        contents.next_serial = record("serial number", value.value())?;
    }
    if let Some(value) = worker.get(BENCH)? {
        contents.bench = record("bench app", value.value())?;
    }
    if let Some(value) = worker.get(KEY_VERSIONS)? {
        contents.key_versions = record("version of a key", value.value())?;
    }
    contents.apps.sort_by_key(|app| app.serial);
    contents.chain = chain::end(database)?;
    Ok(contents)
}

fn address(key: &[u8]) -> Result<AppAddress, OpenError> {
    AppAddress::from_bytes(key).map_err(|error| OpenError::Damaged(error.to_string()))
}

fn secret_key(app: &AppAddress, name: &str) -> Vec<u8> {
    [app.0.as_slice(), name.as_bytes()].concat()
}

fn secret_name(key: &[u8]) -> Result<(AppAddress, String), OpenError> {
    let damaged = || OpenError::Damaged("the name of a secret cannot be read".into());
    let (app, name) = key.split_at_checked(32).ok_or_else(damaged)?;
    let name = std::str::from_utf8(name).map_err(|_| damaged())?;
    Ok((address(app)?, name.to_owned()))
}

/// Makes a change.
pub(super) fn apply(
    transaction: &redb::WriteTransaction,
    change: &Change,
) -> Result<(), redb::Error> {
    match change {
        Change::PutApp(app) => {
            let (key, value) = (app.address().0, records::encode(app.as_ref()));
            let mut apps = transaction.open_table(APPS)?;
            apps.insert(key.as_slice(), value.as_slice())?;
        }
        Change::RemoveApp { app, serial } => {
            let key = app.0.as_slice();
            transaction.open_table(APPS)?.remove(key)?;
            transaction.open_table(USAGE)?.remove(serial)?;
            let mut secrets = transaction.open_table(SECRETS)?;
            secrets.retain(|name, _| !name.starts_with(key))?;
        }
        Change::PutUsage { serial, usage } => {
            let value = records::encode(usage);
            let mut table = transaction.open_table(USAGE)?;
            table.insert(serial, value.as_slice())?;
        }
        Change::PutDeparted(departed) => {
            let value = records::encode(departed);
            transaction.open_table(USAGE)?.remove(departed.serial)?;
            let mut table = transaction.open_table(DEPARTED)?;
            table.insert(departed.serial, value.as_slice())?;
        }
        Change::RemoveDeparted(serial) => {
            transaction.open_table(DEPARTED)?.remove(serial)?;
            transaction.open_table(chain::BILLED)?.remove(serial)?;
        }
        Change::PutSecret { app, name, sealed } => {
            let key = secret_key(app, name);
            let mut secrets = transaction.open_table(SECRETS)?;
            secrets.insert(key.as_slice(), sealed.as_slice())?;
        }
        Change::RemoveSecret { app, name } => {
            let key = secret_key(app, name);
            transaction.open_table(SECRETS)?.remove(key.as_slice())?;
        }
        Change::PutSession(session) => put(transaction, SESSION, session)?,
        // Deployments are written in any order, and no number may come back.
        Change::PutNextSerial(serial) => {
            let stored: Option<u64> = {
                let worker = transaction.open_table(WORKER)?;
                let value = worker.get(NEXT_SERIAL)?;
                value.and_then(|value| records::decode(value.value()).ok())
            };
            put(transaction, NEXT_SERIAL, &stored.unwrap_or(0).max(*serial))?;
        }
        Change::PutBench(bench) => put(transaction, BENCH, bench)?,
        Change::PutKeyVersions(versions) => put(transaction, KEY_VERSIONS, versions)?,
        Change::PutClock(now_ms) => put(transaction, CLOCK, now_ms)?,
        Change::PutReport(report) => chain::append(transaction, report)?,
    }
    Ok(())
}
