//! A worker's data folder in one file, and back.
//!
//! A backup is a tar archive: first a list of its files with their hashes, then
//! the key, the state and the blobs as they lie in the folder. Compiled modules
//! are left out; they are made again. Both directions take the folder's lock,
//! so no daemon may use it. Called by `wapod backup` and `wapod restore`.

mod restore;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use restore::{Existing, Restored, restore};

use crate::blobs::{BlobError, BlobFolder, BlobName};
use crate::data_dir::{BLOBS, DataDir, KEY, STATE, folder_of, sync_folder};
use crate::error::StartError;
use crate::identity::Identity;
use crate::limits::BLOB_PIECE_BYTES;
use crate::store::Store;

/// Name of the list in an archive.
const LIST: &str = "wapod-backup.json";
/// What the list says first; a later layout has another number.
const FORMAT: u32 = 1;
/// A backup holds the worker's key, so only the owner may read it.
const FILE_MODE: u32 = 0o600;

/// What is in an archive.
#[derive(Serialize, Deserialize)]
struct List {
    format: u32,
    /// The version that wrote it, for people.
    wapod: String,
    files: Vec<Listed>,
}

/// One file of an archive.
#[derive(Serialize, Deserialize)]
struct Listed {
    /// Below the data folder.
    path: String,
    bytes: u64,
    sha256: String,
}

/// What was written into a backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// Files in it: key, state, blobs, records of apps.
    pub files: usize,
    /// Their bytes together.
    pub bytes: u64,
    /// What was left out and why, for people.
    pub left_out: Vec<String>,
}

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The data folder cannot be used, or holds something damaged.
    #[error(transparent)]
    Folder(#[from] StartError),
    /// Nothing to back up.
    #[error("{} holds no worker: name its folder with --data-dir", .0.display())]
    NoWorker(PathBuf),
    /// The key is not in the folder, and a worker without it would be another one.
    #[error(
        "the worker's key is not in {}, as --worker-key names another place: stop the worker, and copy the folder and that file",
        .0.display()
    )]
    KeyElsewhere(PathBuf),
    /// A backup is not overwritten.
    #[error("{} is there already: choose another name", .0.display())]
    Exists(PathBuf),
    /// A worker is not overwritten.
    #[error(
        "{} holds a worker already: choose another folder with --data-dir, or have its content moved aside with --force",
        .0.display()
    )]
    HoldsWorker(PathBuf),
    /// The archive is none, or damaged.
    #[error("{} cannot be restored: {reason}. Nothing was changed", file.display())]
    BadArchive {
        /// The archive.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Restoring failed half-way and could not be taken back.
    #[error(
        "{error}; the worker that was there is in {} and could not be moved back: move its content to where it was",
        aside.display()
    )]
    HalfRestored {
        /// Where the former content is.
        aside: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file cannot be read or written.
    #[error("cannot use {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl BackupError {
    fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Self::Io {
            path: path.to_owned(),
            error,
        }
    }
}

/// Writes everything that a worker needs into a new file, which only its owner
/// can read. Damaged blobs are left out. `key_file` is where the worker's key is, if
/// that was named: one that lies in the folder from before is another worker's. Blocks.
///
/// # Errors
///
/// [`BackupError`]; there is no file of that name then, unless there was before.
pub fn create(
    data_dir: &Path,
    key_file: Option<&Path>,
    file: &Path,
) -> Result<Written, BackupError> {
    let own_key = data_dir.join(KEY);
    let is_elsewhere = key_file.is_some_and(|named| !is_same_file(named, &own_key));
    if is_elsewhere || !own_key.is_file() {
        let path = data_dir.to_owned();
        return Err(match data_dir.join(STATE).is_file() {
            true => BackupError::KeyElsewhere(path),
            false => BackupError::NoWorker(path),
        });
    }
    if file.exists() {
        return Err(BackupError::Exists(file.to_owned()));
    }
    let data = DataDir::open(data_dir)?;
    Identity::public_key_in(&data.key_file())?;
    if data.store_file().exists() {
        // A state that cannot be read could not be restored either.
        drop(Store::open(&data.store_file())?);
    }
    let (list, left_out) = list(&data)?;

    let failed = BackupError::io(file);
    let folder = folder_of(file);
    let archive = tempfile::Builder::new()
        .prefix(".wapod-backup-")
        .permissions(fs::Permissions::from_mode(FILE_MODE))
        .tempfile_in(folder)
        .map_err(&failed)?;
    write_archive(archive.as_file(), &list, data.path()).map_err(&failed)?;
    archive.as_file().sync_all().map_err(&failed)?;
    match archive.persist_noclobber(file) {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(BackupError::Exists(file.to_owned()));
        }
        Err(error) => return Err(failed(error.error)),
    }
    sync_folder(folder).map_err(&failed)?;
    Ok(Written {
        files: list.files.len(),
        bytes: list.files.iter().map(|file| file.bytes).sum(),
        left_out,
    })
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    one == other || real(one).is_some_and(|one| real(other) == Some(one))
}

/// Looks through the folder: what goes into the archive and what does not.
fn list(data: &DataDir) -> Result<(List, Vec<String>), BackupError> {
    let mut files = vec![listed(data.path(), KEY)?];
    if data.store_file().exists() {
        files.push(listed(data.path(), STATE)?);
    }
    let mut left_out = Vec::new();
    let blobs = BlobFolder::new(data.blobs(), None);
    for name in names(&data.blobs())? {
        match Kind::of_blob(&name) {
            Some(Kind::Blob(blob)) => match blobs.open_checked(&blob) {
                Ok(_) => {}
                Err(BlobError::Damaged(_)) => {
                    left_out.push(format!("{blob}: damaged; put it again"));
                    continue;
                }
                Err(error) => {
                    let path = data.blobs().join(&name);
                    return Err(BackupError::io(&path)(io::Error::other(error)));
                }
            },
            Some(_) => {}
            None => {
                left_out.push(format!("{BLOBS}/{name}: not a file of the worker"));
                continue;
            }
        }
        files.push(listed(data.path(), &format!("{BLOBS}/{name}"))?);
    }
    let list = List {
        format: FORMAT,
        wapod: env!("CARGO_PKG_VERSION").to_owned(),
        files,
    };
    Ok((list, left_out))
}

/// Names of what is in a folder, in order.
fn names(folder: &Path) -> Result<Vec<String>, BackupError> {
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    };
    read().map_err(BackupError::io(folder))
}

fn listed(data_dir: &Path, path: &str) -> Result<Listed, BackupError> {
    let file = data_dir.join(path);
    let failed = BackupError::io(&file);
    let mut hash = Sha256::new();
    let opened = File::open(&file).map_err(&failed)?;
    let bytes = copy(opened, |piece| {
        hash.update(piece);
        Ok(())
    });
    Ok(Listed {
        path: path.to_owned(),
        bytes: bytes.map_err(&failed)?,
        sha256: hex::encode(hash.finalize()),
    })
}

/// Reads to the end, piece by piece.
fn copy(mut from: impl Read, mut to: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let mut piece = vec![0; BLOB_PIECE_BYTES];
    let mut bytes = 0;
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(bytes),
            Ok(length) => {
                to(piece.get(..length).unwrap_or_default())?;
                bytes += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn write_archive(archive: &File, list: &List, data_dir: &Path) -> io::Result<()> {
    let mut archive = tar::Builder::new(io::BufWriter::new(archive));
    let text = serde_json::to_vec_pretty(list)?;
    let mut header = header(text.len() as u64, 0);
    archive.append_data(&mut header, LIST, text.as_slice())?;
    for listed in &list.files {
        let file = File::open(data_dir.join(&listed.path))?;
        let metadata = file.metadata()?;
        if metadata.len() != listed.bytes {
            let text = format!("{} changes while it is read", listed.path);
            return Err(io::Error::other(text));
        }
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH);
        let mut header = self::header(listed.bytes, modified.map_or(0, |time| time.as_secs()));
        archive.append_data(&mut header, &listed.path, file)?;
    }
    let buffered = archive.into_inner()?;
    buffered
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    Ok(())
}

fn header(bytes: u64, modified_secs: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(FILE_MODE);
    header.set_mtime(modified_secs);
    header
}

/// What a file of an archive is. Nothing else is read from one.
enum Kind {
    Key,
    State,
    Blob(BlobName),
    /// The record that an app left for its next start.
    BootData,
}

impl Kind {
    fn of(path: &str) -> Option<Self> {
        match path {
            KEY => Some(Self::Key),
            STATE => Some(Self::State),
            _ => {
                let name = path.strip_prefix(BLOBS)?.strip_prefix('/')?;
                Self::of_blob(name)
            }
        }
    }

    fn of_blob(name: &str) -> Option<Self> {
        let is_hex = |text: &str| {
            let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            text.bytes().all(is_digit)
        };
        if let Some(address) = name.strip_suffix("-bootdata") {
            return (address.len() == 64 && is_hex(address)).then_some(Self::BootData);
        }
        let blob = is_hex(name).then(|| BlobName::from_digits(name)).flatten();
        blob.map(Self::Blob)
    }
}

#[cfg(test)]
mod tests;
