//! What is kept of ACME in the data folder: the account, certificates, and names that have
//! failed.
//!
//! | path below `acme/` | what |
//! | --- | --- |
//! | `account-<hash of the directory's URL>.json` | the account's key and URL |
//! | `<name>.pem` | chain and key of a name |
//! | `<name>.failed` | how often it failed, and when the next attempt may be |
//!
//! For the owner only; written whole or not at all. All functions block. Called by the
//! parent module.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use crate::data_dir::{Durability, write_whole};
use crate::system::{FILE_MODE, FOLDER_MODE};

/// Bytes of a file that is read back.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Opens it, making it when there is none.
    ///
    /// # Errors
    ///
    /// As the system says.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(FOLDER_MODE))?;
        Ok(Self(path))
    }

    /// The file of the account at a server.
    pub(super) fn account(directory_url: &str) -> String {
        let hash = hex::encode(&Sha256::digest(directory_url.as_bytes())[..8]);
        format!("account-{hash}.json")
    }

    /// Reads a file; `None` when there is none.
    ///
    /// # Errors
    ///
    /// As the system says.
    pub(super) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        use std::io::Read as _;
        let file = match File::open(self.0.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Writes a file and waits for the disk.
    ///
    /// # Errors
    ///
    /// As the system says; the old file is still there then.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        write_whole(&self.0.join(name), bytes, FILE_MODE, Durability::Durable)
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    ///
    /// As the system says.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_kept_is_for_the_owner_only() {
        let outer = tempfile::tempdir().expect("folder");
        let folder = Folder::open(outer.path().join("acme")).expect("made");
        assert_eq!(folder.read("a").expect("nothing"), None);
        folder.write("a", b"first").expect("written");
        folder.write("a", b"second").expect("written");
        assert_eq!(
            folder.read("a").expect("read").as_deref(),
            Some(&b"second"[..])
        );
        let mode = |path: &Path| {
            let metadata = fs::metadata(path).expect("there");
            metadata.permissions().mode() & 0o777
        };
        assert_eq!(mode(&folder.0), 0o700);
        assert_eq!(mode(&folder.0.join("a")), 0o600);
        folder.remove("a").expect("removed");
        folder.remove("a").expect("removed before");
        assert_ne!(Folder::account("https://a/"), Folder::account("https://b/"));
    }
}
