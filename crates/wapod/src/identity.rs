//! The worker's identity: its key, and what is derived from it.
//!
//! The only place that holds the secret key and draws randomness for it. The
//! key is a file of the data folder or one that the operator names, in the clear or
//! closed with a secret (`wapo_crypto::wrapped_key`), or made anew for a server without
//! one. Called by `server`, `worker`, `embedder`, `backup` and `api`.

mod key_command;

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use wapo_crypto::derived_keys::{self, P256Key, QueryKey};
use wapo_crypto::wrapped_key::{self, Costs, WrappedKeyError};
use wapo_crypto::{ContentType, PublicKey, SIGNATURE_BYTES, WorkerKey};
use wapo_rpc::statement::Statement;
use zeroize::Zeroizing;

use crate::config::{KeySecret, KeySettings, Passphrase};
use crate::data_dir::{DataDir, Durability, write_whole};
use crate::error::StartError;
use crate::system::MODE_OF_OTHERS;

/// Only the owner may read the key.
const KEY_FILE_MODE: u32 = 0o600;

/// Bytes of the file that are read. More than any form of a key has.
const KEY_FILE_BYTES_MAX: u64 = 4096;

/// The worker's key. Statements, secrets and queries go through it.
pub(crate) struct Identity {
    key: WorkerKey,
}

/// The file of a key, and who answers for its permissions.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    /// In the worker's own folder: what others may is taken from them.
    Own(PathBuf),
    /// The operator has named it: refused when others can read it.
    Named(PathBuf),
}

impl Place {
    fn of(data: &DataDir, settings: &KeySettings) -> Self {
        match &settings.file {
            Some(path) => Self::Named(path.clone()),
            None => Self::Own(data.key_file()),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Own(path) | Self::Named(path) => path,
        }
    }
}

impl Identity {
    /// An identity that nobody has had and that nobody can have again.
    pub(crate) fn throw_away() -> Self {
        let seed = Zeroizing::new(rand::random());
        Self {
            key: WorkerKey::from_seed(*seed),
        }
    }

    /// Reads a key in the clear, or makes one when there is none.
    #[cfg(test)]
    pub(crate) fn open(path: &Path) -> Result<Self, StartError> {
        read_or_make(&Place::Own(path.to_owned()), None, None)
    }

    /// Reads the key where the settings say; when there is none, keeps the one that another
    /// worker has handed over, or makes one. A key in the clear is closed with the secret,
    /// if there is one. Blocks, for as long as a program that gives the secret takes.
    ///
    /// # Errors
    ///
    /// [`StartError::KeyDamaged`] for a file that is no key, [`StartError::KeyLocked`] and
    /// [`StartError::KeySecret`] for one that the secret, or none, does not open,
    /// [`StartError::KeyReadable`] for one that was named and that others can read. It is
    /// left alone: with a new key the worker would be another one.
    pub(crate) fn of(
        data: &DataDir,
        settings: &KeySettings,
        received: Option<WorkerKey>,
    ) -> Result<Self, StartError> {
        let place = Place::of(data, settings);
        let asked;
        let secret = match &settings.secret {
            None => None,
            Some(KeySecret::Known(passphrase)) => Some(passphrase),
            Some(KeySecret::Command(command)) => {
                asked = key_command::ask(command).map_err(StartError::KeyCommand)?;
                Some(&asked)
            }
        };
        read_or_make(&place, secret, received)
    }

    /// Whether there is no key yet where the settings say. Blocks.
    ///
    /// # Errors
    ///
    /// It cannot be found out.
    pub(crate) fn is_missing(data: &DataDir, settings: &KeySettings) -> Result<bool, StartError> {
        let place = Place::of(data, settings);
        let exists = place.path().try_exists().map_err(fails(place.path()))?;
        Ok(!exists)
    }

    /// Whose key is in a file, also when it is closed. Blocks.
    ///
    /// # Errors
    ///
    /// [`StartError::KeyDamaged`], also when there is no file.
    pub(crate) fn public_key_in(path: &Path) -> Result<PublicKey, StartError> {
        let place = Place::Own(path.to_owned());
        let content = read(&place)?.ok_or_else(|| damaged(path, "there is none"))?;
        if wrapped_key::is_wrapped(&content) {
            let public = wrapped_key::public_key(&content);
            return public.map_err(|error| damaged(path, &error.to_string()));
        }
        let key = WorkerKey::from_bytes(&content);
        let key = key.map_err(|error| damaged(path, &error.to_string()))?;
        Ok(key.public())
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

    /// Signs a statement as those that have a fixed layout carry it.
    pub(crate) fn sign_statement<S: Statement>(&self, statement: &S) -> [u8; SIGNATURE_BYTES] {
        let message = statement.encode();
        self.key.sign(S::CONTENT_TYPE, &message, rand::random())
    }

    /// Signs what an app wants signed.
    pub(crate) fn sign_for_app(&self, app: &[u8; 32], data: &[u8]) -> Vec<u8> {
        self.key.sign_for_app(app, data, rand::random()).to_vec()
    }

    /// Derives an app's secret.
    pub(crate) fn derive_secret(&self, app: &[u8; 32], path: &[u8]) -> Zeroizing<[u8; 64]> {
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

fn read_or_make(
    place: &Place,
    secret: Option<&Passphrase>,
    received: Option<WorkerKey>,
) -> Result<Identity, StartError> {
    let path = place.path();
    let Some(content) = read(place)? else {
        let identity = match received {
            Some(key) => Identity { key },
            None => Identity::throw_away(),
        };
        identity.write(path, secret)?;
        return Ok(identity);
    };
    if wrapped_key::is_wrapped(&content) {
        let secret = secret.ok_or_else(|| StartError::KeyLocked(path.to_owned()))?;
        let key = wrapped_key::unwrap(&content, secret.bytes());
        let key = key.map_err(|error| match error {
            WrappedKeyError::Secret => StartError::KeySecret(path.to_owned()),
            WrappedKeyError::Form => damaged(path, &error.to_string()),
        })?;
        return Ok(Identity { key });
    }
    let key = WorkerKey::from_bytes(&content);
    let key = key.map_err(|error| damaged(path, &error.to_string()))?;
    let identity = Identity { key };
    if secret.is_some() {
        identity.write(path, secret)?;
        tracing::warn!(
            path = %path.display(),
            "the key was in the clear and is encrypted from now on; copies of the file, and what the disk keeps of it, are not"
        );
    }
    Ok(identity)
}

impl Identity {
    fn write(&self, path: &Path, secret: Option<&Passphrase>) -> Result<(), StartError> {
        let content = match secret {
            None => Zeroizing::new(self.key.to_bytes().to_vec()),
            Some(secret) => {
                let random = rand::random();
                let wrapped = wrapped_key::wrap(&self.key, secret.bytes(), Costs::USUAL, random);
                Zeroizing::new(wrapped.map_err(|error| damaged(path, &error.to_string()))?)
            }
        };
        write_whole(path, &content, KEY_FILE_MODE, Durability::Durable).map_err(fails(path))
    }
}

/// Content of the file; `None` when there is none.
fn read(place: &Place) -> Result<Option<Zeroizing<Vec<u8>>>, StartError> {
    let path = place.path();
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fails(path)(error)),
    };
    // Of what was opened, whatever has the name by now.
    let metadata = file.metadata().map_err(fails(path))?;
    if metadata.is_file() && metadata.mode() & MODE_OF_OTHERS != 0 {
        match place {
            Place::Own(_) => make_private(path).map_err(fails(path))?,
            Place::Named(_) => {
                return Err(StartError::KeyReadable {
                    path: path.to_owned(),
                    mode: metadata.mode() & 0o777,
                });
            }
        }
    }
    // Of its final size, so that no piece is left behind when it grows.
    let mut content = Zeroizing::new(Vec::with_capacity(8192));
    let mut limited = file.by_ref().take(KEY_FILE_BYTES_MAX + 1);
    limited.read_to_end(&mut content).map_err(fails(path))?;
    Ok(Some(content))
}

fn fails(path: &Path) -> impl FnOnce(std::io::Error) -> StartError {
    let path = path.to_owned();
    move |error| StartError::DataDir { path, error }
}

fn damaged(path: &Path, reason: &str) -> StartError {
    StartError::KeyDamaged {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Takes read access from others; Wapo 0.x made the file readable for all.
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
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
    fn a_key_that_was_handed_over_is_kept_where_there_is_none() {
        let folder = tempfile::tempdir().expect("folder");
        let place = Place::Own(folder.path().join("worker.key"));
        let received = || WorkerKey::from_seed([1; 32]);
        let kept = read_or_make(&place, Some(&secret("x")), Some(received())).expect("kept");
        assert_eq!(kept.public_key(), received().public());
        assert!(wrapped_key::is_wrapped(
            &fs::read(place.path()).expect("file")
        ));
        let other = WorkerKey::from_seed([2; 32]);
        let read = read_or_make(&place, Some(&secret("x")), Some(other)).expect("read");
        assert_eq!(read.public_key(), received().public());
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

    fn secret(text: &str) -> Passphrase {
        Passphrase::new(text.into()).expect("a passphrase")
    }

    #[test]
    fn a_named_key_that_others_can_read_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("key");
        let place = Place::Named(path.clone());
        let made = read_or_make(&place, None, None).expect("made");
        assert_eq!(mode(&path), 0o600);
        for open in [0o640, 0o604, 0o601, 0o620, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(open)).expect("opened");
            let error = read_or_make(&place, None, None).err().expect("refused");
            assert!(error.to_string().contains("chmod 600"), "{error}");
            assert_eq!(mode(&path), open);
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).expect("closed");
        let read = read_or_make(&place, None, None).expect("read");
        assert_eq!(read.public_key(), made.public_key());
    }

    #[test]
    fn a_key_is_closed_with_a_passphrase_and_opens_with_it_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("worker.key");
        let place = Place::Own(path.clone());
        let made = Identity::open(&path).expect("made");
        let (right, wrong) = (secret("right"), secret("wrong"));
        // What was in the clear is closed from then on.
        let closed = read_or_make(&place, Some(&right), None).expect("closed");
        assert_eq!(closed.public_key(), made.public_key());
        let content = fs::read(&path).expect("file");
        assert!(wrapped_key::is_wrapped(&content));
        assert_eq!(mode(&path), 0o600);

        let error = read_or_make(&place, Some(&wrong), None)
            .err()
            .expect("refused");
        assert!(matches!(error, StartError::KeySecret(_)), "{error}");
        let error = read_or_make(&place, None, None).err().expect("refused");
        assert!(matches!(error, StartError::KeyLocked(_)), "{error}");
        assert_eq!(fs::read(&path).expect("file"), content);

        let opened = read_or_make(&place, Some(&right), None).expect("opened");
        assert_eq!(opened.public_key(), made.public_key());
        let public = Identity::public_key_in(&path).expect("told");
        assert_eq!(public, made.public_key());
    }

    #[test]
    fn a_new_key_is_never_in_the_clear_when_there_is_a_passphrase() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("worker.key");
        read_or_make(&Place::Own(path.clone()), Some(&secret("x")), None).expect("made");
        assert!(wrapped_key::is_wrapped(&fs::read(&path).expect("file")));
        assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);
    }

    #[test]
    fn a_closed_key_that_is_damaged_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("worker.key");
        let place = Place::Own(path.clone());
        read_or_make(&place, Some(&secret("x")), None).expect("made");
        let good = fs::read(&path).expect("file");
        let cut = good[..good.len() - 1].to_vec();
        let mut costly = good.clone();
        costly[15] = 0xff;
        for bad in [cut, costly] {
            fs::write(&path, &bad).expect("written");
            let error = read_or_make(&place, Some(&secret("x")), None).err();
            let error = error.expect("is refused").to_string();
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
