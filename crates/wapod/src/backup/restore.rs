//! From an archive to a data folder.
//!
//! Everything is unpacked beside what is there, and looked at, before anything
//! is moved: an archive that is no good changes nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::{
    BLOBS, BackupError, FILE_MODE, FORMAT, KEY, Kind, LIST, List, Listed, STATE, copy, names,
};
use crate::blobs::BlobFolder;
use crate::data_dir::{DataDir, RESTORING, sync_folder};
use crate::identity::Identity;
use crate::limits::BACKUP_LIST_BYTES_MAX;
use crate::store::Store;
use crate::system::FOLDER_MODE;

/// What is moved, each as a whole.
const PARTS: [&str; 4] = [STATE, "modules", "protected_files", BLOBS];

/// What happens to a worker that is in the folder already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Existing {
    /// It stays, and nothing is restored.
    Keep,
    /// It goes into a folder beside the restored one.
    MoveAside,
}

/// What was restored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// The worker's public key.
    pub public_key: [u8; 32],
    /// Files that were restored.
    pub files: usize,
    /// Where the former content of the folder is.
    pub moved_aside: Option<PathBuf>,
}

/// Puts a backup into a data folder. Blocks.
///
/// # Errors
///
/// [`BackupError`]; an archive that is damaged or no backup changes nothing.
pub fn restore(file: &Path, data_dir: &Path, existing: Existing) -> Result<Restored, BackupError> {
    let archive = File::open(file).map_err(BackupError::io(file))?;
    let data = DataDir::open(data_dir)?;
    // Uploads that were cut off do not count as content.
    BlobFolder::new(data.blobs(), None);
    let is_empty = is_empty(&data)?;
    if !is_empty && existing == Existing::Keep {
        return Err(BackupError::HoldsWorker(data_dir.to_owned()));
    }

    let failed = BackupError::io(data.path());
    let staged = tempfile::Builder::new()
        .prefix(RESTORING)
        .tempdir_in(data.path())
        .map_err(&failed)?;
    let bad = |reason: String| BackupError::BadArchive {
        file: file.to_owned(),
        reason,
    };
    let files = unpack(archive, staged.path()).map_err(|error| match error {
        Unpack::Bad(reason) => bad(reason),
        Unpack::Io(error) => BackupError::io(file)(error),
    })?;
    let public_key = look_at(staged.path()).map_err(bad)?;

    let aside = (!is_empty).then(|| aside(data.path()));
    let mut moves = Moves::default();
    let moved = replace(data.path(), staged.path(), aside.as_deref(), &mut moves);
    moved.map_err(|error| {
        let left = moves.undo();
        match (left, aside.as_deref()) {
            (Err(_), Some(aside)) => BackupError::HalfRestored {
                aside: aside.to_owned(),
                error,
            },
            _ => failed(error),
        }
    })?;
    Ok(Restored {
        public_key,
        files,
        moved_aside: aside,
    })
}

fn is_empty(data: &DataDir) -> Result<bool, BackupError> {
    let protected = data.path().join("protected_files");
    Ok(!data.store_file().exists()
        && names(&protected)?.is_empty()
        && names(&data.blobs())?.is_empty())
}

/// Why an archive was not unpacked: its fault, or the system's.
enum Unpack {
    Bad(String),
    Io(io::Error),
}

impl From<io::Error> for Unpack {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // What the library says of an archive that is none or cut off.
            io::ErrorKind::Other | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                Self::Bad(format!("it is damaged or no backup ({error})"))
            }
            _ => Self::Io(error),
        }
    }
}

/// Unpacks what the list names, and only that, into a folder.
fn unpack(archive: File, folder: &Path) -> Result<usize, Unpack> {
    let mut folders = fs::DirBuilder::new();
    folders.recursive(true).mode(FOLDER_MODE);
    folders.create(folder.join("protected_files"))?;
    folders.create(folder.join(BLOBS))?;

    let mut archive = tar::Archive::new(BufReader::new(archive));
    let mut entries = archive.entries()?;
    let first = entries.next();
    let first = first.ok_or_else(|| Unpack::Bad("it is empty".to_owned()))??;
    let mut listed = read_list(first)?;
    let count = listed.len();
    for entry in entries {
        let entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let is_file = entry.header().entry_type().is_file();
        let listed = listed.remove(&path).filter(|_| is_file);
        let listed = listed
            .ok_or_else(|| Unpack::Bad(format!("it holds `{path}`, which is not in its list")))?;
        unpack_file(entry, &listed, &folder.join(&path))?;
    }
    match listed.into_keys().next() {
        None => Ok(count),
        Some(path) => Err(Unpack::Bad(format!("`{path}` is missing in it"))),
    }
}

/// Files by path, each a path that a backup may have.
fn read_list(entry: tar::Entry<'_, impl io::Read>) -> Result<BTreeMap<String, Listed>, Unpack> {
    let not_one = || Unpack::Bad("it is no backup of wapod".to_owned());
    if *entry.path_bytes() != *LIST.as_bytes() {
        return Err(not_one());
    }
    let mut text = Vec::new();
    let bytes = entry
        .take(BACKUP_LIST_BYTES_MAX + 1)
        .read_to_end(&mut text)?;
    if bytes as u64 > BACKUP_LIST_BYTES_MAX {
        return Err(Unpack::Bad("its list is too long".to_owned()));
    }
    let list: List = serde_json::from_slice(&text).map_err(|_| not_one())?;
    if list.format != FORMAT {
        return Err(Unpack::Bad(format!(
            "it was written by wapod {}, in a form that this version does not know",
            list.wapod
        )));
    }
    let mut files = BTreeMap::new();
    for listed in list.files {
        if Kind::of(&listed.path).is_none() {
            let text = format!("it lists `{}`, which no worker has", listed.path);
            return Err(Unpack::Bad(text));
        }
        files.insert(listed.path.clone(), listed);
    }
    if files.contains_key(KEY) {
        Ok(files)
    } else {
        Err(Unpack::Bad("the worker's key is missing in it".to_owned()))
    }
}

fn unpack_file(entry: impl io::Read, listed: &Listed, path: &Path) -> Result<(), Unpack> {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)?;
    let mut hash = Sha256::new();
    // A byte more than it should have tells that it has more.
    let bytes = copy(entry.take(listed.bytes.saturating_add(1)), |piece| {
        hash.update(piece);
        file.write_all(piece)
    })?;
    if bytes != listed.bytes || hex::encode(hash.finalize()) != listed.sha256 {
        return Err(Unpack::Bad(format!("`{}` in it is damaged", listed.path)));
    }
    Ok(file.sync_all()?)
}

/// Opens what a daemon would open. Gives the worker's public key.
fn look_at(folder: &Path) -> Result<[u8; 32], String> {
    let public = Identity::public_key_in(&folder.join(KEY));
    let public = public.map_err(|_| "the key in it is none".to_owned())?;
    let state = folder.join(STATE);
    if state.exists() {
        let opened = Store::open(&state);
        drop(opened.map_err(|_| "the state in it cannot be read".to_owned())?);
    }
    let blobs = BlobFolder::new(folder.join(BLOBS), None);
    let found = names(&folder.join(BLOBS)).map_err(|error| error.to_string())?;
    for name in found {
        if let Some(Kind::Blob(blob)) = Kind::of_blob(&name) {
            let checked = blobs.open_checked(&blob);
            checked.map_err(|_| format!("the blob {blob} in it is damaged"))?;
        }
    }
    Ok(public)
}

/// A name for the folder of what was there before.
fn aside(data_dir: &Path) -> PathBuf {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    data_dir.join(format!("replaced-{seconds}"))
}

/// Moves what a worker has into a folder of its own, and the restored one to its
/// place.
fn replace(
    data_dir: &Path,
    staged: &Path,
    aside: Option<&Path>,
    moves: &mut Moves,
) -> io::Result<()> {
    if let Some(aside) = aside {
        let mut folders = fs::DirBuilder::new();
        folders.mode(FOLDER_MODE).create(aside)?;
        moves.made.push(aside.to_owned());
        folders.create(aside.join("storage_files"))?;
        moves.made.push(aside.join("storage_files"));
        for part in PARTS {
            moves.rename(&data_dir.join(part), &aside.join(part))?;
        }
        sync_folder(aside)?;
    }
    // The state last: without it a daemon that comes too early finds a worker
    // without apps, and not apps without their worker.
    for part in PARTS.iter().rev() {
        moves.rename(&staged.join(part), &data_dir.join(part))?;
    }
    sync_folder(&data_dir.join("storage_files"))?;
    sync_folder(data_dir)
}

/// What was moved, so that it can be moved back when a later step fails.
#[derive(Default)]
struct Moves {
    /// From where, to where.
    done: Vec<(PathBuf, PathBuf)>,
    /// Folders that were not there before.
    made: Vec<PathBuf>,
}

impl Moves {
    /// Moves a part if it is there. An empty folder in the way is replaced.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if from.exists() {
            fs::rename(from, to)?;
            self.done.push((from.to_owned(), to.to_owned()));
        }
        Ok(())
    }

    /// Puts everything back, the last first.
    ///
    /// # Errors
    ///
    /// The first part that could not be moved back; the others were.
    fn undo(self) -> io::Result<()> {
        let mut outcome = Ok(());
        for (from, to) in self.done.iter().rev() {
            let moved = fs::rename(to, from);
            outcome = outcome.and(moved);
        }
        for folder in self.made.iter().rev() {
            // One that is not empty holds what could not be moved back.
            let _ = fs::remove_dir(folder);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_moved_comes_back_when_a_later_step_fails() {
        let folder = tempfile::tempdir().expect("folder");
        let (data, staged) = (folder.path().join("data"), folder.path().join("staged"));
        for (folder, content) in [(&data, "old"), (&staged, "new")] {
            fs::create_dir_all(folder.join("protected_files")).expect("made");
            fs::write(folder.join(KEY), content).expect("written");
            fs::write(folder.join(STATE), content).expect("written");
        }
        fs::create_dir_all(staged.join(BLOBS)).expect("made");
        // There is no folder into which the blobs could be moved.
        let aside = data.join("replaced-7");
        let mut moves = Moves::default();
        replace(&data, &staged, Some(&aside), &mut moves).expect_err("no folder");
        assert!(!data.join(STATE).exists() && aside.join(STATE).exists());
        moves.undo().expect("all of it");
        assert_eq!(fs::read(data.join(STATE)).expect("there"), b"old");
        assert_eq!(fs::read(data.join(KEY)).expect("there"), b"old");
        assert_eq!(fs::read(staged.join(STATE)).expect("there"), b"new");
        assert!(!aside.exists());
    }
}
