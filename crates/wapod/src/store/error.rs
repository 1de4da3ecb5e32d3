//! Why the store's file cannot be opened, read or written, and what that is called outside.
//!
//! Made by `store` and its parts from what the library says.

use std::io;
use std::path::Path;

use crate::error::{AppError, StartError};

/// A change could not be written; nothing of it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cannot write the worker's state: {0}")]
pub(crate) struct StoreError(pub(super) String);

pub(super) enum OpenError {
    /// The content of the file is not what a daemon wrote.
    Damaged(String),
    /// What a newer daemon wrote.
    Newer(String),
    /// Another process has it.
    InUse,
    /// The system did not do what is needed.
    Io(io::Error),
    Thread(io::Error),
}

impl OpenError {
    /// For the operator who wanted to open that file.
    pub(super) fn at(self, path: &Path) -> StartError {
        let path = path.to_owned();
        match self {
            Self::Damaged(reason) => StartError::StoreDamaged { path, reason },
            Self::Newer(reason) => StartError::StoreNewer { path, reason },
            Self::InUse => StartError::DataDirInUse(path),
            Self::Io(error) | Self::Thread(error) => StartError::DataDir { path, error },
        }
    }
}

impl<E: Into<redb::Error>> From<E> for OpenError {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => Self::InUse,
            // Reading beyond the end and the like are the file's fault.
            redb::Error::Io(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof
                        | io::ErrorKind::InvalidData
                        | io::ErrorKind::InvalidInput
                        | io::ErrorKind::Other
                ) =>
            {
                Self::Io(error)
            }
            error => Self::Damaged(error.to_string()),
        }
    }
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        Self(match error {
            OpenError::Damaged(reason) | OpenError::Newer(reason) => reason,
            OpenError::InUse => "another process has its file".to_owned(),
            OpenError::Io(error) | OpenError::Thread(error) => error.to_string(),
        })
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}
