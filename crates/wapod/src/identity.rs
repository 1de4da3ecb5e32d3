//! Who this worker is: its key, and what is derived from it.
//!
//! The only place that holds the secret key and draws randomness for it. The
//! key is a file of the data folder, or made anew for a server without one.
//! Called by `worker`, `embedder` and `api`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use wapo_crypto::derived_keys::{self, P256Key, QueryKey};
use wapo_crypto::{ContentType, PublicKey, WorkerKey};

use crate::data_dir::{Durability, write_whole};
use crate::error::StartError;

/// Only the owner may read the key.
const KEY_FILE_MODE: u32 = 0o600;

/// The worker's key. Statements, secrets and queries go through it.
pub(crate) struct Identity {
    key: WorkerKey,
}

impl Identity {
    /// An identity that nobody has had and that nobody can have again.
    pub(crate) fn throw_away() -> Self {
        Self {
            key: WorkerKey::from_seed(rand::random()),
        }
    }

    /// Reads the key, or makes one when there is none. Blocks.
    ///
    /// # Errors
    ///
    /// [`StartError::KeyDamaged`] for a file that is no key. It is left alone:
    /// with a new key the worker would be another one.
    pub(crate) fn open(path: &Path) -> Result<Self, StartError> {
        let fails = |error| StartError::DataDir {
            path: path.to_owned(),
            error,
        };
        match fs::read(path) {
            Ok(content) => {
                let damaged = |reason: String| StartError::KeyDamaged {
                    path: path.to_owned(),
                    reason,
                };
                let key = WorkerKey::from_bytes(&content);
                let key = key.map_err(|error| damaged(error.to_string()))?;
                make_private(path).map_err(fails)?;
                Ok(Self { key })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let identity = Self::throw_away();
                let content = identity.key.to_bytes();
                write_whole(path, content.as_slice(), KEY_FILE_MODE, Durability::Durable)
                    .map_err(fails)?;
                Ok(identity)
            }
            Err(error) => Err(fails(error)),
        }
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        self.key.public()
    }

    /// Signs a statement of the worker.
    pub(crate) fn sign(&self, content_type: ContentType, message: &[u8]) -> Vec<u8> {
        self.key
            .sign(content_type, message, rand::random())
            .to_vec()
    }

    /// Signs what an app wants signed.
    pub(crate) fn sign_for_app(&self, app: &[u8; 32], data: &[u8]) -> Vec<u8> {
        self.key.sign_for_app(app, data, rand::random()).to_vec()
    }

    /// Derives an app's secret.
    pub(crate) fn derive_secret(&self, app: &[u8; 32], path: &[u8]) -> [u8; 64] {
        self.key.derive_secret(app, path)
    }

    /// The key of an app, which follows from all that `parameters` name.
    pub(crate) fn app_key(&self, parameters: &[u8]) -> P256Key {
        derived_keys::app_key(&self.key, parameters)
    }

    /// The key that signs the worker's answers, in one of its versions.
    pub(crate) fn answer_key(&self, version: u32) -> P256Key {
        derived_keys::answer_key(&self.key, version)
    }

    /// The key that private queries are encrypted to, in one of its versions.
    pub(crate) fn query_key(&self, version: u32) -> QueryKey {
        derived_keys::query_key(&self.key, version)
    }

    /// The key itself, for sealing and opening.
    pub(crate) fn key(&self) -> &WorkerKey {
        &self.key
    }
}

/// Takes read access from others; Wapo 0.x made the file readable for all.
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), "the key could be read by others; that is over now");
    fs::set_permissions(path, fs::Permissions::from_mode(KEY_FILE_MODE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        let metadata = fs::metadata(path).expect("file");
        metadata.permissions().mode() & 0o777
    }

    #[test]
    fn a_key_is_made_once_and_is_private() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("worker.key");
        let made = Identity::open(&path).expect("made");
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("as 0.x left it");
        let read = Identity::open(&path).expect("read");
        assert_eq!(read.public_key(), made.public_key());
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_key_of_wapo_0_is_taken_over() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("worker.key");
        let file = "0bdd6dbf4edf8925e8c128bc2ddd9ed555e36240ca30ca7633d80e18d177de0d\
                    b17a2a2cf3d4a41a8e4e18cc45c8656d558eceddb0adb46bfa088a5f53bed252";
        fs::write(&path, hex::decode(file).expect("hex")).expect("write");
        let key = Identity::open(&path).expect("read").public_key();
        let expected = "189dac29296d31814dc8c56cf3d36a0543372bba7538fa322a4aebfebc39e056";
        assert_eq!(hex::encode(key), expected);
    }

    #[test]
    fn a_damaged_key_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("worker.key");
        for bad in [&b""[..], &[0xff; 63], &[0xff; 64]] {
            fs::write(&path, bad).expect("write");
            let error = Identity::open(&path).err().expect("is refused").to_string();
            assert!(error.contains("worker.key"), "{error}");
            assert_eq!(fs::read(&path).expect("file"), bad);
        }
    }

    #[test]
    fn identities_differ() {
        let (one, other) = (Identity::throw_away(), Identity::throw_away());
        assert_ne!(one.public_key(), other.public_key());
    }
}
