//! The folder in which a worker keeps everything that outlives it.
//!
//! | path | what |
//! | --- | --- |
//! | `lock` | held by the daemon that uses the folder |
//! | `protected_files/worker.key` | the worker's secret key |
//! | `storage_files/blobs/` | blobs and boot data (`blobs`, `boot_data`) |
//! | `state.redb` | apps, usage, session, secrets (`store`) |
//! | `modules/` | compiled modules |
//! | `collateral.json` | what verifiers need beside quotes (`worker::collateral`) |
//! | `acme/` | account, certificates and failures of ACME (`acme::folder`) |
//! | `reserve` | room for a full disk (`reserve`) |
//!
//! The first two folders have the names that Wapo 0.x gave them, so that its
//! data is taken over as it is. A server without a folder of its own gets one
//! that goes away with it. Opened by `server`.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use crate::error::StartError;
use crate::reserve::Reserve;
use crate::system::{FILE_MODE, FOLDER_MODE, MODE_OF_OTHERS};

/// Beginning of the names of files that are being written.
const UNFINISHED: &str = ".new-";

/// Beginning of the name of a folder into which a backup is unpacked.
pub(crate) const RESTORING: &str = ".restoring-";

/// File of the worker's key, below the folder.
pub(crate) const KEY: &str = "protected_files/worker.key";
/// File of the store.
pub(crate) const STATE: &str = "state.redb";
/// Folder of ACME.
pub(crate) const ACME: &str = "acme";
/// Folder of the blobs.
pub(crate) const BLOBS: &str = "storage_files/blobs";

/// Whether no worker has ever kept anything in a folder.
pub fn is_new(path: &Path) -> bool {
    !path.join(STATE).exists()
}

/// An open data folder. Nobody else can open it while this exists.
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: Option<File>,
    temporary: Option<TempDir>,
}

impl DataDir {
    /// Opens a folder, making it when there is none. Blocks.
    ///
    /// # Errors
    ///
    /// [`StartError::DataDirInUse`] when another daemon has it,
    /// [`StartError::DataDir`] when it cannot be used.
    pub(crate) fn open(path: &Path) -> Result<Self, StartError> {
        let fails = |error| StartError::DataDir {
            path: path.to_owned(),
            error,
        };
        check_owner(path)?;
        make_folders(path).map_err(fails)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(FILE_MODE)
            .open(path.join("lock"))
            .map_err(fails)?;
        match lock.try_lock() {
            Ok(()) => {
                make_private(path).map_err(fails)?;
                remove_unfinished(path);
                Ok(Self {
                    path: path.to_owned(),
                    _lock: Some(lock),
                    temporary: None,
                })
            }
            Err(TryLockError::WouldBlock) => Err(StartError::DataDirInUse(path.to_owned())),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Err(StartError::NoLocks {
                    path: path.to_owned(),
                    error,
                })
            }
            Err(TryLockError::Error(error)) => Err(fails(error)),
        }
    }

    /// Makes a folder that is deleted with this value. Blocks.
    ///
    /// # Errors
    ///
    /// [`StartError::DataDir`].
    pub(crate) fn temporary() -> Result<Self, StartError> {
        let fails = |error| StartError::DataDir {
            path: std::env::temp_dir(),
            error,
        };
        let folder = tempfile::Builder::new()
            .prefix("wapo-")
            .tempdir()
            .map_err(fails)?;
        make_folders(folder.path()).map_err(fails)?;
        Ok(Self {
            path: folder.path().to_owned(),
            _lock: None,
            temporary: Some(folder),
        })
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether files in it have to survive a crash.
    pub(crate) fn durability(&self) -> Durability {
        match self.temporary {
            Some(_) => Durability::Temporary,
            None => Durability::Durable,
        }
    }

    /// File of the worker's key.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.path.join(KEY)
    }

    /// Folder of the blobs.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.path.join(BLOBS)
    }

    /// File of the store.
    pub(crate) fn store_file(&self) -> PathBuf {
        self.path.join(STATE)
    }

    /// File of what verifiers need beside quotes.
    pub(crate) fn collateral_file(&self) -> PathBuf {
        self.path.join("collateral.json")
    }

    /// Room for a full disk. Makes it if it can.
    pub(crate) fn reserve(&self) -> Reserve {
        let mut reserve = Reserve::new(&self.path);
        reserve.remake();
        reserve
    }

    /// Folder of compiled modules.
    pub(crate) fn modules(&self) -> PathBuf {
        self.path.join("modules")
    }
}

fn make_folders(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(FOLDER_MODE);
    builder.create(path.join("protected_files"))?;
    builder.create(path.join(BLOBS))
}

/// Refuses a folder of another user, who could exchange the key.
fn check_owner(path: &Path) -> Result<(), StartError> {
    let ours = rustix::process::geteuid();
    match std::fs::metadata(path) {
        Ok(folder) if folder.uid() != ours.as_raw() && !ours.is_root() => {
            Err(StartError::DataDirOfOther {
                path: path.to_owned(),
                owner: folder.uid(),
                ours: ours.as_raw(),
            })
        }
        _ => Ok(()),
    }
}

/// Keeps others from what is in the folder, also when it was made by a program that
/// let them in.
fn make_private(path: &Path) -> io::Result<()> {
    let folders = [
        "",
        "protected_files",
        "storage_files",
        BLOBS,
        "modules",
        ACME,
    ];
    let files = [STATE, KEY, "lock"];
    let folders = folders.map(|name| (path.join(name), FOLDER_MODE));
    let files = files.map(|name| (path.join(name), FILE_MODE));
    for (path, mode) in folders.into_iter().chain(files) {
        let Ok(metadata) = std::fs::metadata(&path) else {
            continue;
        };
        if metadata.mode() & MODE_OF_OTHERS != 0 {
            std::fs::set_permissions(&path, Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

/// Deletes what a crash has left half written. What cannot be deleted does no
/// harm.
fn remove_unfinished(path: &Path) {
    let _ = std::fs::remove_file(path.join(STATE).with_extension("new"));
    for folder in ["", "protected_files", BLOBS, "modules", ACME] {
        let Ok(entries) = std::fs::read_dir(path.join(folder)) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
                let _ = std::fs::remove_file(entry.path());
            }
            if name.as_encoded_bytes().starts_with(RESTORING.as_bytes()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Whether what is written has to survive a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Durability {
    /// It is on the disk when writing returns.
    Durable,
    /// It goes away with the folder anyway.
    Temporary,
}

/// Writes a file as a whole: under another name, synchronised, then renamed, so
/// that a crash leaves the old content or the new. Blocks.
///
/// # Errors
///
/// As the system says; the old content is still there then.
pub(crate) fn write_whole(
    path: &Path,
    content: &[u8],
    mode: u32,
    durability: Durability,
) -> io::Result<()> {
    use std::io::Write as _;

    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder_of(path))?;
    file.write_all(content)?;
    persist(file, path, durability)
}

/// Gives a file that was written under another name in the same file system its
/// own, with all of its content. Blocks.
///
/// # Errors
///
/// As [`write_whole`].
pub(crate) fn persist(file: NamedTempFile, path: &Path, durability: Durability) -> io::Result<()> {
    if durability == Durability::Durable {
        file.as_file().sync_all()?;
    }
    file.persist(path).map_err(|error| error.error)?;
    match durability {
        Durability::Durable => sync_folder(folder_of(path)),
        Durability::Temporary => Ok(()),
    }
}

/// The folder that a file is in, also when only a name was given.
pub(crate) fn folder_of(path: &Path) -> &Path {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or_else(|| Path::new("."))
}

/// Makes a rename in a folder last. Blocks.
///
/// # Errors
///
/// As the system says.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_daemon() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("data");
        let first = DataDir::open(&path).expect("opens");
        let second = DataDir::open(&path).err().expect("is refused");
        assert!(matches!(second, StartError::DataDirInUse(_)), "{second}");
        drop(first);
        DataDir::open(&path).expect("opens again");
    }

    #[test]
    fn an_open_folder_is_made_private_and_tidy() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("data");
        make_folders(&path).expect("made");
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("open to all");
        let file = |name: &str, mode: u32| {
            let path = path.join(name);
            std::fs::write(&path, b"").expect("written");
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("open to all");
            path
        };
        let state = file(STATE, 0o644);
        let left = [
            file(".new-abc", 0o600),
            file("protected_files/.new-x", 0o600),
            file("storage_files/blobs/.new-", 0o600),
            file("state.new", 0o600),
        ];
        std::fs::create_dir(path.join(".restoring-x")).expect("made");
        let blob = file("storage_files/blobs/new", 0o600);
        DataDir::open(&path).expect("opens");
        let mode = |path: &Path| std::fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&state), 0o600);
        for path in left {
            assert!(!path.exists(), "{path:?}");
        }
        assert!(!path.join(".restoring-x").exists() && blob.exists());
    }

    #[test]
    fn atemporary_folder_goes_away() {
        let data = DataDir::temporary().expect("folder");
        let path = data.path().to_owned();
        assert!(path.join("storage_files/blobs").is_dir());
        drop(data);
        assert!(!path.exists());
    }

    #[test]
    fn files_are_written_whole_and_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("file");
        write_whole(&path, b"one", 0o600, Durability::Durable).expect("written");
        write_whole(&path, b"two", 0o600, Durability::Temporary).expect("replaced");
        assert_eq!(std::fs::read(&path).expect("file"), b"two");
        let mode = std::fs::metadata(&path).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 1);
    }
}
