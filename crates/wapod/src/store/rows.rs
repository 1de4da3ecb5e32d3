//! Records in rows of tables, and the table of those that the worker has one of.
//!
//! What a record is made of is in `records`. Used by `contents` and `chain`.

use redb::TableDefinition;

use super::error::OpenError;
use super::records::{self, Record, Unreadable};

/// Single records of the worker by name.
pub(super) const WORKER: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("worker");

/// Reads a record.
pub(super) fn record<T: Record>(what: &str, bytes: &[u8]) -> Result<T, OpenError> {
    records::decode(bytes).map_err(|error| match error {
        Unreadable::Newer(version) => {
            OpenError::Newer(format!("the record of a {what} has version {version}"))
        }
        Unreadable::Damaged => OpenError::Damaged(format!("the record of a {what} cannot be read")),
    })
}

/// Writes a record of the worker.
pub(super) fn put<T: Record>(
    transaction: &redb::WriteTransaction,
    name: &str,
    record: &T,
) -> Result<(), redb::Error> {
    let value = records::encode(record);
    let mut worker = transaction.open_table(WORKER)?;
    worker.insert(name, value.as_slice())?;
    Ok(())
}
