//! The record that an app may leave for its next start, sealed on disk.
//!
//! One file per app beside the blobs. Files of Wapo 0.x are read and sealed
//! anew. Called by `embedder`, on blocking threads.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use wapo_abi::Errno;
use wapo_crypto::sealed::{self, Label, Purpose, SealedError};
use wapo_host::limits::caps::BOOT_DATA_BYTES_MAX;
use wapo_rpc::AppAddress;

use crate::data_dir::{Durability, write_whole};
use crate::identity::Identity;

/// The file is sealed, but nobody else needs it.
const FILE_MODE: u32 = 0o600;

/// How names of the files end, after the app's address.
const SUFFIX: &str = "-bootdata";

/// Sizes of all records of a folder, in bytes. Blocks.
pub(crate) fn sizes(folder: &Path) -> HashMap<AppAddress, u64> {
    let Ok(entries) = fs::read_dir(folder) else {
        return HashMap::new();
    };
    let size = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let address = name.to_str()?.strip_suffix(SUFFIX)?.parse().ok()?;
        Some((address, entry.metadata().ok()?.len()))
    };
    entries.flatten().filter_map(size).collect()
}

/// The boot data of one app.
#[derive(Clone)]
pub(crate) struct BootData {
    path: PathBuf,
    address: AppAddress,
    durability: Durability,
}

impl BootData {
    pub(crate) fn new(folder: &Path, address: AppAddress, durability: Durability) -> Self {
        Self {
            path: folder.join(format!("{address}{SUFFIX}")),
            address,
            durability,
        }
    }

    /// Reads the record. Blocks.
    ///
    /// # Errors
    ///
    /// [`Errno::IO_ERROR`] when there is one that cannot be opened.
    pub(crate) fn read(&self, identity: &Identity) -> Result<Option<Vec<u8>>, Errno> {
        let file = match fs::read(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(&error)),
        };
        match sealed::open(identity.key(), self.label(), &file) {
            Ok(mut data) => Ok(Some(std::mem::take(&mut *data))),
            Err(SealedError::Header) => {
                let opened = sealed::open_legacy_boot_data(identity.key(), &self.address.0, &file);
                let mut data = opened.map_err(|error| self.failed(&error))?;
                self.write(identity, &data)?;
                Ok(Some(std::mem::take(&mut *data)))
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Bytes of the file. Looks at the disk, briefly.
    pub(crate) fn size(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// Replaces the record. Blocks.
    ///
    /// # Errors
    ///
    /// [`Errno::RESOURCE_LIMITED`] for too much, [`Errno::IO_ERROR`] when it
    /// cannot be written; the old record is still there then.
    pub(crate) fn write(&self, identity: &Identity, data: &[u8]) -> Result<(), Errno> {
        if data.len() > BOOT_DATA_BYTES_MAX {
            return Err(Errno::RESOURCE_LIMITED);
        }
        let sealed = sealed::seal(identity.key(), self.label(), data, rand::random());
        let sealed = sealed.map_err(|error| self.failed(&error))?;
        let written = write_whole(&self.path, &sealed, FILE_MODE, self.durability);
        written.map_err(|error| self.failed(&error))
    }

    fn label(&self) -> Label<'_> {
        Label {
            purpose: Purpose::BootData,
            app_address: &self.address.0,
            name: "",
        }
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Errno {
        tracing::warn!(app = %self.address, %error, "boot data");
        Errno::IO_ERROR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_kept_sealed_and_bounded() {
        let folder = tempfile::tempdir().expect("folder");
        let identity = Identity::throw_away();
        let boot = BootData::new(folder.path(), AppAddress([7; 32]), Durability::Durable);
        assert_eq!(boot.read(&identity), Ok(None));
        let full = vec![1; BOOT_DATA_BYTES_MAX];
        assert_eq!(boot.write(&identity, &full), Ok(()));
        fs::write(folder.path().join("another file"), "").expect("written");
        let found = sizes(folder.path());
        assert_eq!(found, HashMap::from([(boot.address, boot.size())]));
        let long = vec![2; BOOT_DATA_BYTES_MAX + 1];
        assert_eq!(boot.write(&identity, &long), Err(Errno::RESOURCE_LIMITED));
        assert_eq!(boot.read(&identity), Ok(Some(full.clone())));
        let file = fs::read(&boot.path).expect("file");
        assert!(!file.windows(64).any(|part| part == &full[..64]), "sealed");
    }

    #[test]
    fn foreign_and_damaged_files_are_errors() {
        let folder = tempfile::tempdir().expect("folder");
        let identity = Identity::throw_away();
        let boot = BootData::new(folder.path(), AppAddress([7; 32]), Durability::Durable);
        boot.write(&identity, b"mine").expect("written");
        assert_eq!(boot.read(&Identity::throw_away()), Err(Errno::IO_ERROR));
        let other = BootData::new(folder.path(), AppAddress([8; 32]), Durability::Durable);
        fs::copy(&boot.path, &other.path).expect("copied");
        assert_eq!(other.read(&identity), Err(Errno::IO_ERROR));
        for bad in [&b""[..], &[0; 3], &[0; 100]] {
            fs::write(&boot.path, bad).expect("write");
            assert_eq!(boot.read(&identity), Err(Errno::IO_ERROR));
        }
    }
}
