//! The folder of compiled modules: names, authentication, order.
//!
//! What is kept on disk is native code that the host will execute, so a file
//! counts only if its keyed hash over the engine's fingerprint, the module's
//! hash and the very bytes that are then loaded is right. The folder does not
//! grow for ever: in the folder of one worker, files that no app refers to are
//! removed; a folder that several programs share is bounded by its size. Called
//! by `module_cache`, on threads that may block.

use std::collections::HashSet;
use std::fs::{DirEntry, FileTimes};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tracing::{debug, warn};

/// Version of the layout of cache files.
const FILE_VERSION: &[u8] = b"wapo module cache 2\n";
/// Ending of the name of a file that is complete.
const COMPLETE: &str = "wapoc";
/// Beginning of the ending of a file that is being written.
const TEMPORARY: &str = "tmp-";
/// Hex digits of a module's hash, with which a name begins.
const HASH_DIGITS: usize = 64;

/// Age from which a file that is being written was left behind.
///
/// Writing takes seconds. Other programs may be writing to the same folder.
const LEFT_BEHIND: Duration = Duration::from_secs(15 * 60);

/// Where compiled modules are kept between runs.
#[derive(Clone)]
pub struct ModuleCacheConfig {
    /// Folder of the files; made when missing.
    pub dir: PathBuf,
    /// Authenticates the files. Who knows it can run native code in the host.
    pub key: [u8; 32],
    /// Who uses the folder.
    pub kind: CacheKind,
}

/// Who uses a folder of compiled modules, which decides what is removed from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheKind {
    /// One worker: what is removed is what it no longer names
    /// ([`Engine::keep_only`](crate::Engine::keep_only)).
    Own,
    /// Several programs: what was not used for the longest time is removed when
    /// all files have more bytes than this.
    Shared {
        /// Bytes of all files together.
        bytes_max: u64,
    },
}

impl std::fmt::Debug for ModuleCacheConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModuleCacheConfig")
            .field("dir", &self.dir)
            .field("key", &"(hidden)")
            .field("kind", &self.kind)
            .finish()
    }
}

/// The folder, for modules of one engine.
pub(crate) struct ModuleFiles {
    config: ModuleCacheConfig,
    fingerprint: [u8; 8],
}

impl ModuleFiles {
    pub(crate) fn new(config: ModuleCacheConfig, fingerprint: [u8; 8]) -> Self {
        Self {
            config,
            fingerprint,
        }
    }

    fn path(&self, hash: [u8; 32]) -> PathBuf {
        let name = [hash.as_slice(), &self.fingerprint].concat();
        let name = format!("{}.{COMPLETE}", hex::encode(name));
        self.config.dir.join(name)
    }

    fn authenticate(&self, hash: [u8; 32], code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.config.key);
        hasher.update(FILE_VERSION);
        hasher.update(&self.fingerprint);
        hasher.update(&hash);
        hasher.update(code);
        hasher.finalize()
    }

    /// The file of a module, if it is there and genuine.
    pub(crate) fn read(&self, hash: [u8; 32]) -> Option<Genuine> {
        let path = self.path(hash);
        let file = std::fs::read(&path).ok()?;
        let (tag, code) = file.split_at_checked(blake3::OUT_LEN)?;
        let tag = blake3::Hash::from_slice(tag).ok()?;
        // `Hash` compares in constant time.
        if tag != self.authenticate(hash, code) {
            warn!(path = %path.display(), "compiled module is not genuine; compiling anew");
            return None;
        }
        self.mark_used(&path);
        Some(Genuine(file))
    }

    /// Whether there is a file for a module; says nothing of its content. Blocks.
    pub(crate) fn has(&self, hash: [u8; 32]) -> bool {
        self.path(hash).is_file()
    }

    /// The order of removal is that of last use, whatever the file system
    /// records by itself.
    fn mark_used(&self, path: &Path) {
        if matches!(self.config.kind, CacheKind::Shared { .. }) {
            let times = FileTimes::new().set_accessed(SystemTime::now());
            let _ = std::fs::File::open(path).and_then(|file| file.set_times(times));
        }
    }

    /// Keeps what was compiled; failing to is a warning, not an error.
    pub(crate) fn write(&self, hash: [u8; 32], code: &[u8]) {
        let path = self.path(hash);
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(&self.config.dir)?;
            let unique = format!(
                "{TEMPORARY}{}-{:x}",
                std::process::id(),
                rand::random::<u64>()
            );
            let temporary = path.with_extension(unique);
            let written = std::fs::File::create_new(&temporary).and_then(|mut file| {
                file.write_all(self.authenticate(hash, code).as_bytes())?;
                file.write_all(code)?;
                file.sync_all()
            });
            written
                .and_then(|()| std::fs::rename(&temporary, &path))
                .inspect_err(|_| drop(std::fs::remove_file(&temporary)))
        };
        if let Err(error) = write() {
            warn!(%error, path = %path.display(), "cannot keep a compiled module");
        }
        if let CacheKind::Shared { bytes_max } = self.config.kind {
            self.bound(bytes_max, &path);
        }
    }

    /// Removes what is not among `live`, in a folder that belongs to one worker,
    /// and what interrupted writers have left.
    pub(crate) fn keep_only(&self, live: &HashSet<[u8; 32]>) {
        for file in self.files() {
            let is_removed = match &file.name {
                Name::Complete(hash) => self.config.kind == CacheKind::Own && !live.contains(hash),
                Name::Temporary => file.is_left_behind(self.config.kind),
            };
            if is_removed {
                file.remove();
            }
        }
    }

    /// Removes the files that were not used for the longest time, until the rest
    /// has at most `bytes_max` bytes. The file just written stays.
    fn bound(&self, bytes_max: u64, written: &Path) {
        let mut files = Vec::new();
        for file in self.files() {
            match file.name {
                Name::Temporary if file.is_left_behind(self.config.kind) => file.remove(),
                Name::Temporary => {}
                Name::Complete(_) => files.push(file),
            }
        }
        let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
        files.sort_by_key(|file| file.used);
        for file in files.iter().filter(|file| file.path != written) {
            if bytes <= bytes_max {
                return;
            }
            file.remove();
            bytes -= file.bytes;
        }
    }

    /// All files of ours in the folder; others are left alone.
    fn files(&self) -> impl Iterator<Item = CacheFile> {
        let entries = std::fs::read_dir(&self.config.dir);
        let entries = entries.into_iter().flatten().flatten();
        entries.filter_map(|entry| CacheFile::look_at(&entry))
    }
}

/// A file whose keyed hash was right: the hash, then code that an engine with
/// this fingerprint has made.
pub(crate) struct Genuine(Vec<u8>);

impl Genuine {
    pub(crate) fn code(&self) -> &[u8] {
        self.0.get(blake3::OUT_LEN..).unwrap_or_default()
    }
}

struct CacheFile {
    path: PathBuf,
    name: Name,
    bytes: u64,
    used: SystemTime,
    written: SystemTime,
}

enum Name {
    /// The module's hash; any fingerprint.
    Complete([u8; 32]),
    Temporary,
}

impl CacheFile {
    fn look_at(entry: &DirEntry) -> Option<Self> {
        let path = entry.path();
        let extension = path.extension()?.to_str()?;
        let name = if extension == COMPLETE {
            let digits = path.file_stem()?.to_str()?.get(..HASH_DIGITS)?;
            Name::Complete(hex::decode(digits).ok()?.try_into().ok()?)
        } else if extension.starts_with(TEMPORARY) {
            Name::Temporary
        } else {
            return None;
        };
        let metadata = entry.metadata().ok()?;
        Some(Self {
            name,
            bytes: metadata.len(),
            used: metadata.accessed().ok()?,
            written: metadata.modified().ok()?,
            path,
        })
    }

    /// In a worker's own folder nobody else writes; what this process writes it
    /// renames within moments, and a folder is looked through by the same thread.
    fn is_left_behind(&self, kind: CacheKind) -> bool {
        let of_this_process = format!("{TEMPORARY}{}-", std::process::id());
        let extension = self.path.extension().and_then(|text| text.to_str());
        let is_ours = extension.is_some_and(|text| text.starts_with(&of_this_process));
        let age = self.written.elapsed().unwrap_or_default();
        age >= LEFT_BEHIND || (kind == CacheKind::Own && !is_ours)
    }

    fn remove(&self) {
        match std::fs::remove_file(&self.path) {
            Ok(()) => debug!(path = %self.path.display(), "removed a compiled module"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                warn!(%error, path = %self.path.display(), "cannot remove a compiled module");
            }
        }
    }
}
